"""Record a run for MLflow without MLflow: a journal, and a second process that delivers it.

So a server may be down, slow, or gone for hours; and MLflow, which takes seconds to import, is
imported over there (`mlflow_follower`).
"""

import atexit
import json
import logging
import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

from src.runtime.identity import PROJECT_ROOT
from src.runtime.tracker.journal import Journal, Record, read_json, write_json
from src.runtime.tracker.mlflow_delivery import without_password

STATUS = {
    "success": "FINISHED",
    "finished": "FINISHED",
    "failed": "FAILED",
    "killed": "KILLED",
    "interrupted": "KILLED",
}
FOLLOWER = "src.runtime.tracker.mlflow_follower"
MAX_STARTS = 3  # of a follower that dies

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
        self._follower: subprocess.Popen[str] | None = None
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
        self._append(self._journal, record)
        dead = self._follower is None or self._follower.poll() is not None
        if dead and self._starts < MAX_STARTS:
            self._follow()

    def finalize(self, status: str) -> None:
        """Note how the run ended, as far as it went."""
        if self._journal is not None:
            self._status = STATUS.get(status.lower(), status.upper())
            self.record({"status": self._status, "time": now()})

    def close(self) -> str | None:
        """Wait until MLflow has everything, or is given up for now; return a line that says which.

        None if nothing was recorded. What is recorded afterwards opens the run again.
        """
        follower, self._follower = self._follower, None
        if self._journal is None or follower is None or follower.stdin is None:
            return None
        if self._status:
            self._append(self._journal, {"status": self._status, "time": now()})
        try:
            follower.stdin.write("close\n")
            follower.stdin.close()
        except OSError:
            pass  # it died
        try:
            delivered = follower.wait() == 0
        except BaseException:  # a second Ctrl-C, say: do not wait
            follower.kill()
            raise
        self._starts = 0
        where = without_password(self.uri)
        if delivered and not self._disk_full:
            return f"MLflow at {where} has everything that was logged."
        return (
            f"MLflow at {where} has not got everything yet; the rest is kept in {self.folder}. "
            "Upload it with: python src/sync.py"
        )

    def _append(self, journal: Journal, record: Record) -> None:
        error = journal.append(record)
        if error and not self._disk_full:
            log.warning(
                "%s cannot be written (%s): what MLflow is to know is kept in memory.",
                journal.path,
                error,
            )
        self._disk_full = error is not None

    def _follow(self) -> None:
        self._starts += 1
        options = [str(self.patience), str(self.system_metrics or 0)]
        with (self.folder / "delivery.log").open("a") as errors:
            self._follower = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    FOLLOWER,
                    str(self.folder),
                    *options,
                ],
                cwd=PROJECT_ROOT,
                env=os.environ | {"MLFLOW_TRACKING_URI": self.uri},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # Ctrl-C is for us; it ends when we say so, or are gone
            )
        threading.Thread(target=self._listen, args=(self._follower,), daemon=True).start()
        atexit.register(self.close)

    def _listen(self, follower: "subprocess.Popen[str]") -> None:
        assert follower.stdout is not None
        for line in follower.stdout:
            if not line.startswith("{"):
                log.warning(line.rstrip())
            elif follower is self._follower and self._journal is not None:
                self._append(self._journal, json.loads(line))  # a sample of the machine
