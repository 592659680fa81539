"""Which classes the test takes for which."""

from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from src.callbacks.pictures import draw_confusion_matrix, names_of, show
from src.callbacks.tested_predictions import TestedPredictions


class ConfusionMatrix(TestedPredictions):
    """Draw the confusion matrix of the test, to a file and each tracker.

    Args:
        output_dir: where the PNG file goes.
    """

    def __init__(self, output_dir: str) -> None:
        super().__init__()
        self.output_dir = Path(output_dir)
        self.counts: Tensor | None = None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the test before."""
        super().on_test_start(trainer, pl_module)
        self.counts = None

    def update(self, images: Tensor, labels: Tensor, logits: Tensor) -> None:
        """Count a batch."""
        classes = logits.shape[1]
        cells = labels * classes + logits.argmax(dim=1)
        counts = torch.bincount(cells, minlength=classes**2).view(classes, classes)
        self.counts = counts if self.counts is None else self.counts + counts

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add up the counts of all devices, and draw them."""
        if self.counts is None:
            return
        counts = trainer.strategy.reduce(self.counts, reduce_op="sum")
        assert isinstance(counts, Tensor)
        if not trainer.is_global_zero:
            return
        datamodule = trainer.datamodule  # ty: ignore[missing-attribute]
        picture = draw_confusion_matrix(counts.cpu(), names_of(range(len(counts)), datamodule))
        path = self.output_dir / "test_confusion_matrix.png"
        show(trainer, picture, path, "test/confusion_matrix")
