"""The best checkpoint as an MLflow model."""

import logging
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from src.runtime.tracker.mlflow_format import inputs_of
from src.runtime.tracker.mlflow_logger import JournalMLFlowLogger

log = logging.getLogger(__name__)


class LogBestModel(Callback):
    """Log the best checkpoint when `fit` ends, with two inputs of the validation set."""

    @rank_zero_only
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log it; what goes wrong costs the model, not the run."""
        path = getattr(trainer.checkpoint_callback, "best_model_path", "")
        if not path:
            return
        for logger in trainer.loggers:
            if isinstance(logger, JournalMLFlowLogger):
                try:
                    batch = next(iter(trainer.datamodule.val_dataloader()))  # ty: ignore[missing-attribute]
                    example = inputs_of(batch)[:2].cpu().numpy()
                    logger.record_model(Path(path), example, trainer.global_step)
                except Exception as error:
                    reason = str(error).partition("\n")[0]
                    log.warning("The best checkpoint is not logged as a model: %s", reason)
