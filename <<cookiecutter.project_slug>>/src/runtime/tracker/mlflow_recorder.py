"""Record a run for MLflow without MLflow: a journal, and a second process that delivers it.

So a server may be down, slow, or gone for hours; and MLflow, which takes seconds to import, is
imported over there (`mlflow_follower`).
"""

import atexit
import logging
import time
import uuid
from pathlib import Path

from src.runtime.tracker.journal import Journal, Record, read_json, write_json
from src.runtime.tracker.mlflow_delivery import without_password
from src.runtime.tracker.mlflow_process import MLflowProcess

STATUS = {
    "success": "FINISHED",
    "finished": "FINISHED",
    "failed": "FAILED",
    "killed": "KILLED",
    "interrupted": "KILLED",
}
MAX_STARTS = 3  # of a process that dies

log = logging.getLogger(__name__)


def now() -> int:
    """Return the time as MLflow has it: milliseconds since 1970."""
    return int(time.time() * 1000)


class Recorder:
    """Records one run. Where `folder` holds a journal already, that run goes on.

    Args:
        folder: for the journal, and for files until they are delivered.
        uri: of the store, credentials included; they are not written down.
        description: `experiment`, `artifact_location`, `name`, `tags`, and `parent`, the folder of
            another recorder.
        patience: seconds that `close` waits for a store that makes no progress.
        system_metrics: seconds between two samples of processors, memory and network, or None.
    """

    def __init__(
        self,
        folder: Path,
        uri: str,
        description: Record,
        patience: float = 15.0,
        system_metrics: float | None = None,
    ) -> None:
        self.folder = folder
        self.uri = uri
        self.patience = patience
        self.system_metrics = system_metrics
        self._description = description
        self._journal: Journal | None = None
        self.process = MLflowProcess.of(uri)
        self._starts = 0
        self._status: str | None = None
        self._disk_full = False

    def describe(self) -> None:
        """Write `run.json`, by which MLflow's run is found or created."""
        known = read_json(self.folder / "run.json")
        identity = {
            "key": known.get("key", uuid.uuid4().hex),
            "started": known.get("started", now()),
            "uri": without_password(self.uri),
        }
        if run_id := read_json(self.folder / "state.json").get("run_id"):
            log.info("MLflow: goes on in the run %s", run_id)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / "run.json", identity | self._description)

    def record(self, record: Record) -> None:
        """Write a record. A full disk is reported, and the record kept in memory."""
        if self._journal is None:
            self.describe()
            self._journal = Journal(self.folder / "journal.jsonl")
        self._append(record)
        if not self.process.follows(self.folder) and self._starts < MAX_STARTS:
            self._starts += 1
            self.process.follow(self.folder, self.patience, self.system_metrics, self._append)
            atexit.register(self.close)

    def finalize(self, status: str) -> None:
        """Note how the run ended, as far as it went."""
        if self._journal is not None:
            self._status = STATUS.get(status.lower(), status.upper())
            self.record({"status": self._status, "time": now()})

    def close(self) -> str | None:
        """Wait until MLflow has everything, or is given up for now; return a line that says which.

        None if nothing was recorded, or if a sweep keeps the process: it waits at its own end. What
        is recorded afterwards opens the run again.
        """
        if not self._starts:
            return None
        self._starts = 0
        if self._status:
            self._append({"status": self._status, "time": now()})
        self.process.close(self.folder)
        if self.process.is_kept:
            return None
        # A worker of a launcher may have another job of the sweep.
        left = self.process.wait(stay=bool(self._description.get("parent")))
        where = without_password(self.uri)
        if not left and not self._disk_full:
            return f"MLflow at {where} has everything that was logged."
        folders = ", ".join(map(str, left or [self.folder]))
        return (
            f"MLflow at {where} has not got everything yet; the rest is kept in {folders}. "
            "Upload it with: python src/sync.py"
        )

    def _append(self, record: Record) -> None:
        assert self._journal is not None
        error = self._journal.append(record)
        if error and not self._disk_full:
            log.warning(
                "%s cannot be written (%s): what MLflow is to know is kept in memory.",
                self._journal.path,
                error,
            )
        self._disk_full = error is not None
