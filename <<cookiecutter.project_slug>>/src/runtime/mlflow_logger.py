"""Lightning's MLflow logger, made so that MLflow can neither slow a run down nor end it.

What is logged goes to a journal in the run directory; a second process delivers it from there
(`mlflow_follower`). So a server may be down, slow, or gone for hours, and MLflow, which takes
seconds to import, is never imported here.
"""

import atexit
import logging
import os
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.logger import _add_prefix, _convert_params, _flatten_dict
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from src.runtime.identity import PROJECT_ROOT
from src.runtime.journal import Journal, Record, read_json, write_json
from src.runtime.mlflow_client import JournalClient
from src.runtime.mlflow_delivery import without_password

STATUS = {
    "success": "FINISHED",
    "finished": "FINISHED",
    "failed": "FAILED",
    "killed": "KILLED",
    "interrupted": "KILLED",
}
MAX_PARAM_LENGTH = 6_000
PARAMS_A_RECORD = 50
MAX_STARTS = 3  # of a follower that dies

log = logging.getLogger(__name__)


class JournalMLFlowLogger(MLFlowLogger):
    """Log to MLflow through a journal: `isinstance(logger, MLFlowLogger)` holds.

    Args:
        save_dir: the run directory; the journal is `save_dir/mlflow`. A run that goes on in the
            same directory goes on in the same MLflow run.
        experiment_name: name of the experiment.
        tracking_uri: `sqlite:///PATH` or `http://HOST:PORT`.
        artifact_location: where a database keeps files; a server chooses a place itself.
        run_name: name of the run; MLflow invents one if it is None.
        tags: of the run.
        log_model: log the best checkpoint as a model at the end of training.
        prefix: put before the name of each metric, with a `-` between.
        patience: seconds that the end of a run waits for a store that makes no progress.
    """

    def __init__(
        self,
        save_dir: str,
        experiment_name: str,
        tracking_uri: str,
        artifact_location: str | None = None,
        run_name: str | None = None,
        tags: dict[str, Any] | None = None,
        log_model: bool = True,
        prefix: str = "",
        patience: float = 15.0,
    ) -> None:
        Logger.__init__(self)  # MLFlowLogger's own would import MLflow
        self.folder = Path(save_dir).resolve() / "mlflow"
        self._experiment_name = experiment_name
        self._tracking_uri = tracking_uri
        self._artifact_location = artifact_location
        self._run_name = run_name
        self.tags = tags
        self.log_model = log_model
        self._prefix = prefix
        self._patience = patience
        self._journal: Journal | None = None
        self._follower: subprocess.Popen[str] | None = None
        self._starts = 0
        self._status: str | None = None
        self._disk_full = False

    @property
    @rank_zero_experiment
    def experiment(self) -> JournalClient:
        """What stands in for MLflow's client: its logging methods, through the journal."""
        return JournalClient(self.folder, self._tracking_uri, self.record)

    @rank_zero_only
    def record(self, record: Record) -> None:
        """Write a record for MLflow. Never raises."""
        if self._journal is None:
            self._journal = self._open()
        error = self._journal.append(record)
        if error and not self._disk_full:
            log.warning(
                "%s cannot be written (%s): what MLflow is to know is kept in memory.",
                self._journal.path,
                error,
            )
        self._disk_full = error is not None
        dead = self._follower is None or self._follower.poll() is not None
        if dead and self._starts < MAX_STARTS:
            self._follow()

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        """Log parameters, with dots between the levels of nested ones."""
        flat = _flatten_dict(_convert_params(params))
        items = [(_name(key), str(value)[:MAX_PARAM_LENGTH]) for key, value in flat.items()]
        for i in range(0, len(items), PARAMS_A_RECORD):
            self.record({"params": dict(items[i : i + PARAMS_A_RECORD])})

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics at a step."""
        named = _add_prefix(metrics, self._prefix, self.LOGGER_JOIN_CHAR)
        values = {_name(key): float(value) for key, value in named.items()}
        self.record({"metrics": values, "step": step or 0, "time": _now()})

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Note how the run ended, as far as it went: Lightning says so after each `fit`, `test`."""
        if self._journal is not None:
            self._status = STATUS.get(status.lower(), status.upper())
            self.record({"status": self._status, "time": _now()})

    @rank_zero_only
    def close(self) -> str | None:
        """Wait until MLflow has everything, or is given up for now; return a line that says which.

        None if nothing was logged. What is logged afterwards opens the run again.
        """
        follower, self._follower = self._follower, None
        if follower is None or follower.stdin is None:
            return None
        if self._journal is not None and self._status:
            self._journal.append({"status": self._status, "time": _now()})
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
        where = without_password(self._tracking_uri)
        if delivered and not self._disk_full:
            return f"MLflow at {where} has everything that was logged."
        return (
            f"MLflow at {where} has not got everything yet; the rest is kept in {self.folder}. "
            "Upload it with: python src/sync.py"
        )

    @rank_zero_only
    def record_model(self, path: Path, step: int) -> None:
        """Log a model that was saved in MLflow's format to a folder of its own below `folder`."""
        file = path.relative_to(self.folder).as_posix()
        self.record({"model": file, "key": uuid.uuid4().hex, "step": step})

    @rank_zero_only
    def record_datasets(self, datasets: Sequence[Record]) -> None:
        """Log datasets: each with `name`, `digest`, `source`, `profile`, and `context`."""
        self.record({"datasets": list(datasets)})

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Do nothing: the best checkpoint is logged once, at the end."""

    @property
    def run_id(self) -> str | None:
        """MLflow's name of the run; None as long as MLflow has given none."""
        return read_json(self.folder / "state.json").get("run_id")

    @property
    def experiment_id(self) -> str | None:
        """MLflow's name of the experiment; None as long as MLflow has given none."""
        return read_json(self.folder / "state.json").get("experiment_id")

    @property
    def name(self) -> str:
        """The name of the experiment."""
        return self._experiment_name

    @property
    def version(self) -> str | None:
        """MLflow's name of the run; None as long as MLflow has given none."""
        return self.run_id

    @property
    def save_dir(self) -> str:
        """The run directory."""
        return str(self.folder.parent)

    def _open(self) -> Journal:
        journal = Journal(self.folder / "journal.jsonl")
        server = self._tracking_uri.startswith("http")
        known = read_json(self.folder / "run.json")
        location = self._artifact_location
        write_json(
            self.folder / "run.json",
            {
                "key": known.get("key", uuid.uuid4().hex),
                "started": known.get("started", _now()),
                "uri": without_password(self._tracking_uri),
                "experiment": self._experiment_name,
                "artifact_location": None if server or not location else _absolute(location),
                "name": self._run_name,
                "tags": {key: str(value) for key, value in (self.tags or {}).items()},
            },
        )
        return journal

    def _follow(self) -> None:
        self._starts += 1
        module = "src.runtime.mlflow_follower"
        with (self.folder / "delivery.log").open("a") as errors:
            self._follower = subprocess.Popen(
                [sys.executable, "-m", module, str(self.folder), str(self._patience)],
                cwd=PROJECT_ROOT,
                env=os.environ | {"MLFLOW_TRACKING_URI": self._tracking_uri},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # Ctrl-C is for us; it ends when we say so, or are gone
            )
        threading.Thread(target=_log_lines, args=(self._follower,), daemon=True).start()
        atexit.register(self.close)


def _log_lines(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        log.warning(line.rstrip())


def _name(key: str) -> str:
    return re.sub(r"[^\w/. :-]+", "_", key)


def _absolute(location: str) -> str:
    return location if "://" in location else Path(location).resolve().as_uri()


def _now() -> int:
    return int(time.time() * 1000)
