"""Modules that call `self.logger.experiment` as they do with the tracker they were written for."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import matplotlib.figure
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import MLFlowLogger
from lightning_code import Classifier
from lightning_data import PlainData
from torch import nn

from src.runtime.loggers import CSVLogger, JSONLinesLogger, TensorBoardLogger
from src.runtime.mlflow_logger import MLflowLogger

pytestmark = pytest.mark.filterwarnings("ignore")


class Called(Classifier):
    """Calls the logger at the end of each epoch."""

    def on_train_epoch_end(self) -> None:
        for logger in self.loggers:
            self.call(logger, logger.experiment)

    def call(self, logger: Any, experiment: Any) -> None:
        raise NotImplementedError


class TensorBoardCalls(Called):
    def call(self, logger: Any, experiment: Any) -> None:
        if not hasattr(experiment, "add_histogram"):
            return
        epoch = self.current_epoch
        for name, parameter in self.named_parameters():
            experiment.add_histogram(name, parameter, epoch)
        figure = matplotlib.figure.Figure()
        figure.subplots().plot([1, 2])
        experiment.add_figure("figure", figure, epoch)
        experiment.add_image("image", torch.zeros(3, 8, 8), epoch)
        experiment.add_scalars("both", {"a": 1.0, "b": torch.tensor(2.0)}, epoch)
        experiment.add_text("text", "hello", global_step=epoch)
        experiment.flush()


class WandbCalls(Called):
    def on_train_start(self) -> None:
        for logger in self.loggers:
            if hasattr(logger, "watch"):
                logger.watch(self)

    def call(self, logger: Any, experiment: Any) -> None:
        if hasattr(experiment, "config"):
            experiment.config.update({"model": "tiny"}, allow_val_change=True)
            experiment.config["layers"] = 3
        if hasattr(experiment, "log"):
            experiment.log({"examples": [1, 2], "epoch": self.current_epoch})
        if hasattr(experiment, "summary"):
            experiment.summary["best"] = 1.0


class NeptuneCalls(Called):
    def call(self, logger: Any, experiment: Any) -> None:
        if hasattr(experiment, "__getitem__"):
            experiment["train/samples"].append(1)


class MlflowCalls(Called):
    def call(self, logger: Any, experiment: Any) -> None:
        if not isinstance(logger, MLFlowLogger):
            return
        run_id, folder = logger.run_id, Path(self.trainer.default_root_dir, "report")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "a.csv").write_text("a,b")
        experiment.log_artifact(run_id=run_id, local_path=str(folder / "a.csv"))
        experiment.log_artifacts(run_id, str(folder), "all")
        experiment.log_batch(run_id, metrics=[], params=[], tags=[])
        experiment.log_dict(run_id, {"a": 1}, "a.json")
        experiment.log_image(run_id, np.zeros((4, 4, 3)), "x.png")
        experiment.log_table(run_id, {"a": [1, 2]}, "table.json")
        assert logger.experiment_id is None  # nothing was uploaded yet


class FolderOfExperiment(Called):
    def call(self, logger: Any, experiment: Any) -> None:
        folder = os.path.join(experiment.log_dir, "figures")
        os.makedirs(folder, exist_ok=True)
        Path(folder, "a.txt").write_text("a")


LOGGERS: dict[str, Callable[[Path], Any]] = {
    "none": JSONLinesLogger,
    "mlflow": lambda folder: MLflowLogger(folder, "name", f"sqlite:///{folder.parent}/mlflow.db"),
    "csv": CSVLogger,
    "tensorboard": TensorBoardLogger,
}


@pytest.mark.parametrize("logger", LOGGERS)
@pytest.mark.parametrize(
    "model", [TensorBoardCalls, WandbCalls, NeptuneCalls, MlflowCalls, FolderOfExperiment]
)
def test_calls_of_a_tracker_do_not_end_the_training(
    model: type[nn.Module], logger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.runtime.mlflow_logger.ensure_uploader_is_running", lambda folder: None)
    trainer = L.Trainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        logger=LOGGERS[logger](tmp_path / "run"),
        max_epochs=1,
    )
    trainer.fit(model(), PlainData())
    assert trainer.global_step == 3
    if model is FolderOfExperiment:
        (written,) = tmp_path.rglob("figures/a.txt")
        assert written.is_relative_to(tmp_path / "run")
