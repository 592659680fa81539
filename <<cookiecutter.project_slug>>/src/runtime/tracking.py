"""What each tracker is told about a run, whichever tracker it is."""

import logging
from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger

from src.runtime import record
from src.runtime.mlflow_delivery import without_password
from src.runtime.mlflow_logger import JournalMLFlowLogger
from src.runtime.plain_config import flatten

log = logging.getLogger(__name__)


class RunParameters(Callback):
    """Log the configuration, the size of the model, and what data the run really uses.

    A datamodule that may stand in another dataset for its own says so by an attribute
    `substitute`: the name of the other dataset, or None.
    """

    def __init__(self, plain_config: dict[str, Any]) -> None:
        self.plain_config = plain_config
        self._logged = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Log once; by now the datamodule is set up and knows what it holds."""
        if self._logged:
            return
        self._logged = True
        substitute = substitute_of(trainer)
        parameters = flatten(self.plain_config) | {
            "params/total": sum(p.numel() for p in pl_module.parameters()),
            "params/trainable": sum(p.numel() for p in pl_module.parameters() if p.requires_grad),
            "data/substitute": substitute,
        }
        for logger in trainer.loggers:
            logger.log_hyperparams(parameters)
            if isinstance(logger, MLFlowLogger):
                tags = {tag: "true" for tag in self.plain_config.get("tags", [])}
                if substitute:
                    tags["data.substitute"] = substitute
                for key, value in tags.items():
                    logger.experiment.set_tag(logger.run_id, key, value)


def close(loggers: Sequence[Logger]) -> None:
    """Close the trackers that deliver in the background, and log what became of the run there."""
    for logger in loggers:
        if isinstance(logger, JournalMLFlowLogger) and (outcome := logger.close()):
            record.update(logger.save_dir, mlflow_run_id=logger.run_id)
            log.info(outcome)


def substitute_of(trainer: Trainer) -> str | None:
    """Return the name of the dataset that stands in for the one asked for, or None."""
    return getattr(trainer.datamodule, "substitute", None)  # ty: ignore[missing-attribute]


def open_command(loggers: Sequence[Logger]) -> str | None:
    """Return the command that opens the first tracker that has a page."""
    for logger in loggers:
        if isinstance(logger, MLFlowLogger):
            return f"mlflow ui --backend-store-uri {without_password(logger._tracking_uri)}"
        if isinstance(logger, TensorBoardLogger):
            return f"tensorboard --logdir {logger.log_dir}"
    return None
