"""The best checkpoint as an MLflow model: to load and to serve without this project's code."""

import logging
import os
import uuid
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from src.runtime.checkpoint import checkpoints
from src.runtime.tracker.mlflow_logger import JournalMLFlowLogger

log = logging.getLogger(__name__)


class LogBestModel(Callback):
    """Log the best checkpoint when `fit` ends, with a signature and an example of its input.

    The example is two inputs of the validation set. The format is that of `torch.export`, which
    would take a batch of one for a constant.
    """

    @rank_zero_only
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log it; what goes wrong costs the model, not the run."""
        path = getattr(trainer.checkpoint_callback, "best_model_path", "")
        if not path:
            return
        for logger in trainer.loggers:
            if isinstance(logger, JournalMLFlowLogger):
                try:
                    logger.record_model(
                        save_model(path, trainer, logger.recorder.folder), trainer.global_step
                    )
                except Exception as error:
                    reason = str(error).partition("\n")[0]
                    log.warning("The best checkpoint is not logged as a model: %s", reason)


def save_model(checkpoint: str, trainer: Trainer, folder: Path) -> Path:
    """Save a checkpoint in MLflow's format, below `folder`.

    Raises:
        Exception: where the model cannot be exported, or the data gives no single input.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # of one file
    # It would tell everyone who uses uv that their environment has no pip.
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)
    import mlflow.pytorch
    import torch
    from mlflow.models import infer_signature

    batch = next(iter(trainer.datamodule.val_dataloader()))  # ty: ignore[missing-attribute]
    inputs = (batch[0] if isinstance(batch, list | tuple) else batch)[:2].cpu()
    model = checkpoints.load_model(checkpoint)
    with torch.no_grad():
        signature = infer_signature(inputs.numpy(), model(inputs).numpy())
    target = folder / "files" / uuid.uuid4().hex[:12] / "model"
    mlflow.pytorch.save_model(
        model,
        target,
        signature=signature,
        input_example=inputs.numpy(),
        pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}", "mlflow"],
        serialization_format="pt2",
        extra_files=[checkpoint],
    )
    return target
