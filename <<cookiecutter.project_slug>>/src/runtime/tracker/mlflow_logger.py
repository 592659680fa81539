"""Lightning's MLflow logger, made so that MLflow can neither slow a run down nor end it."""

import os
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hydra.core.hydra_config import HydraConfig
from lightning.fabric.utilities.logger import _add_prefix, _convert_params, _flatten_dict
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from src.runtime import record
from src.runtime.tracker import mlflow_format, mlflow_sweep
from src.runtime.tracker.journal import Record, read_json
from src.runtime.tracker.mlflow_client import JournalClient
from src.runtime.tracker.mlflow_recorder import Recorder, now

MAX_PARAM_LENGTH = 6_000
PARAMS_A_RECORD = 50


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
        system_metrics: seconds between two samples of processors, memory and network, or None.
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
        system_metrics: float | None = None,
    ) -> None:
        Logger.__init__(self)  # MLFlowLogger's own would import MLflow
        self.tags = tags
        self.log_model = log_model
        self._tracking_uri = tracking_uri
        self._experiment_name = experiment_name
        self._prefix = prefix
        description = mlflow_sweep.description(
            experiment_name, tracking_uri, artifact_location, run_name, tags
        )
        folder = Path(save_dir).resolve() / "mlflow"
        if HydraConfig.initialized():
            description["parent"] = mlflow_sweep.parent(HydraConfig.get(), folder)
        self.recorder = Recorder(folder, tracking_uri, description, patience, system_metrics)

    @property
    @rank_zero_experiment
    def experiment(self) -> JournalClient:
        """What stands in for MLflow's client: its logging methods, through the journal."""
        return JournalClient(self.recorder.folder, self._tracking_uri, self.recorder.record)

    @rank_zero_only
    def log_hyperparams(self, params: Any) -> None:
        """Log parameters, with dots between the levels of nested ones."""
        flat = _flatten_dict(_convert_params(params))
        items = [(_name(key), str(value)[:MAX_PARAM_LENGTH]) for key, value in flat.items()]
        for i in range(0, len(items), PARAMS_A_RECORD):
            self.recorder.record({"params": dict(items[i : i + PARAMS_A_RECORD])})

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log metrics at a step."""
        named = _add_prefix(metrics, self._prefix, self.LOGGER_JOIN_CHAR)
        values = {_name(key): float(value) for key, value in named.items()}
        self.recorder.record({"metrics": values, "step": step or 0, "time": now()})

    @rank_zero_only
    def record_model(self, checkpoint: Path, example: np.ndarray, step: int) -> None:
        """Log a checkpoint as a model, with a batch of its inputs, `(N, ...)`.

        In a sweep it is exported beside the next job, by the process that delivers.

        Raises:
            Exception: if the disk does not take them, or the model cannot be exported.
        """
        kept = self.recorder.folder / "files" / uuid.uuid4().hex[:12] / checkpoint.name
        kept.parent.mkdir(parents=True)
        try:
            try:
                os.link(checkpoint, kept)  # what is deleted elsewhere stays here
            except OSError:  # not on every file system
                shutil.copy2(checkpoint, kept)
            np.save(kept.with_name(mlflow_format.EXAMPLE), example)
            if not self.recorder.process.is_kept:  # it would import torch for one model
                mlflow_format.save_checkpoint(kept)
        except BaseException:
            shutil.rmtree(kept.parent, ignore_errors=True)
            raise
        file = kept.relative_to(self.recorder.folder).as_posix()
        self.recorder.record({"model": file, "key": uuid.uuid4().hex, "step": step})

    @rank_zero_only
    def record_datasets(self, datasets: Sequence[Record]) -> None:
        """Log datasets: each with `name`, `digest`, `source`, `profile`, and `context`."""
        self.recorder.record({"datasets": list(datasets)})

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Note how the run ended, as far as it went: Lightning says so after each `fit`, `test`."""
        self.recorder.finalize(status)

    @rank_zero_only
    def close(self) -> str | None:
        """Wait for the delivery, as `Recorder.close` does."""
        return self.recorder.close()

    def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
        """Do nothing: the best checkpoint is logged once, at the end."""

    @property
    def run_id(self) -> str | None:
        """MLflow's name of the run; None as long as MLflow has given none."""
        return record.mlflow_run_id(self.save_dir)

    @property
    def experiment_id(self) -> str | None:
        """MLflow's name of the experiment; None as long as MLflow has given none."""
        return read_json(self.recorder.folder / "state.json").get("experiment_id")

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
        return str(self.recorder.folder.parent)


def _name(key: str) -> str:
    return re.sub(r"[^\w/. :-]+", "_", key)
