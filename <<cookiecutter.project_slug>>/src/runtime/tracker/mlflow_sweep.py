"""A sweep in MLflow: one parent run, with its jobs as children."""

import atexit
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from src.runtime.config.plain_config import as_typed
from src.runtime.tracker.journal import Record
from src.runtime.tracker.mlflow_config import nodes

if TYPE_CHECKING:  # takes a while, and every start loads this module
    from src.runtime.tracker.mlflow_recorder import Recorder

log = logging.getLogger(__name__)


def description(
    experiment: str,
    uri: str,
    artifact_location: str | None,
    name: str | None,
    tags: dict[str, Any] | None,
) -> Record:
    """Return what a `Recorder` has to know of a run."""
    if uri.startswith("http"):
        artifact_location = None  # the server has a place of its own
    elif artifact_location and "://" not in artifact_location:
        artifact_location = Path(artifact_location).resolve().as_uri()
    return {
        "experiment": experiment,
        "artifact_location": artifact_location,
        "name": name,
        "tags": {key: str(value) for key, value in (tags or {}).items()},
    }


def parent(hydra: Any, folder: Path) -> str | None:
    """Return the recorder's folder of the sweep that a job belongs to, if it belongs to one."""
    if hydra.mode != RunMode.MULTIRUN:
        return None
    of_sweep = Path(hydra.sweep.dir).resolve() / "mlflow"
    return str(of_sweep) if of_sweep != folder and (of_sweep / "run.json").exists() else None


class SweepRun(Callback):
    """Hydra's callback that begins and ends the parent run, if the sweep logs to MLflow.

    Jobs in this process share one that delivers, and only the end of the sweep waits for it.
    """

    def __init__(self) -> None:
        self._recorder: Recorder | None = None
        self._status = "killed"  # unless we learn otherwise

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Describe the parent; the first job whose records are delivered creates it."""
        for node in nodes(config):
            from src.runtime.tracker.mlflow_recorder import Recorder

            folder = Path(config.hydra.sweep.dir).resolve() / "mlflow"
            location = node.get("artifact_location")
            about = description(
                node.experiment_name, node.tracking_uri, location, "sweep", {"sweep": "true"}
            )
            self._recorder = Recorder(folder, node.tracking_uri, about, node.get("patience", 15))
            self._recorder.describe()
            self._recorder.process.is_kept = True
            atexit.register(self._end)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Remember that a job failed: the sweep then ends with it."""
        if job_return.status == JobStatus.FAILED:
            self._status = "failed"

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """End the parent."""
        self._status = "finished"
        if self._recorder is not None:
            overrides = " ".join(as_typed(config.hydra.overrides.task))
            self._recorder.record({"params": {"overrides": overrides}})
        self._end()

    def _end(self) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.record({"tags": {"sweep": "true"}})
            recorder.finalize(self._status)
            recorder.process.is_kept = False
            if outcome := recorder.close():
                log.info(outcome)
