"""Draw the confusion matrix of the test."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from src.callbacks.failsafe import disable_on_error
from src.callbacks.pictures import (
    confusion_picture,
    labelled_images,
    names_of,
    predict_logits,
    save_picture,
)


class ConfusionMatrix(Callback):
    """Draw how often the test images of a class were predicted as each class.

    Args:
        output_dir: folder of the PNG file.
    """

    def __init__(self, output_dir: str) -> None:
        self.output_dir = Path(output_dir)
        self.counts: Tensor | None = None  # int64 (K, K), labels by predictions

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with no counts."""
        self.counts = None

    @disable_on_error
    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Predict the batch of the first dataloader."""
        if dataloader_idx > 0:
            return
        images, labels = labelled_images(batch)
        logits = predict_logits(trainer, pl_module, images)
        classes = logits.shape[1]
        cells = labels * classes + logits.argmax(dim=1)
        counts = torch.bincount(cells, minlength=classes**2).view(classes, classes)
        self.counts = counts if self.counts is None else self.counts + counts

    @disable_on_error
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add up the counts of all devices, and draw them."""
        if self.counts is None:
            return
        counts = trainer.strategy.reduce(self.counts, reduce_op="sum")
        if trainer.is_global_zero and isinstance(counts, Tensor):
            datamodule = trainer.datamodule
            picture = confusion_picture(counts.cpu(), names_of(range(len(counts)), datamodule))
            path = self.output_dir / "test_confusion_matrix.png"
            save_picture(trainer, picture, path, "test/confusion_matrix")
