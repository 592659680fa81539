"""Draw the first training batch, validation predictions, and the confusion matrix of the test."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from src.callbacks import pictures
from src.callbacks.failsafe import disable_on_error


class PictureCallback(Callback):
    """Arguments of all callbacks that draw.

    Args:
        output_dir: folder of the PNG files.
        num_images: how many images a grid shows, at most a batch.
    """

    def __init__(self, output_dir: str, num_images: int = 32) -> None:
        self.output_dir = Path(output_dir)
        self.num_images = num_images


class LogBatch(PictureCallback):
    """Draw the first training images with their labels, as the model gets them."""

    @disable_on_error
    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Draw the first batch of the run."""
        is_first = trainer.global_step == 0 and batch_idx == 0
        if is_first and trainer.is_global_zero:
            datamodule = getattr(trainer, "datamodule", None)
            images, labels = pictures.labelled_images(batch, self.num_images)
            captions = pictures.names_of(labels, datamodule)
            picture = pictures.draw_grid(images, captions, [True] * len(captions), datamodule)
            pictures.save_picture(trainer, picture, self.output_dir, "train/batch")


class LogImages(PictureCallback):
    """Draw the first validation images: the prediction, and the label where it differs."""

    @disable_on_error
    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *indices: int
    ) -> None:
        """Draw the first batch of each validation, except of the sanity check."""
        if any(indices) or trainer.sanity_checking:  # of the batch and of the dataloader
            return
        datamodule = getattr(trainer, "datamodule", None)
        images, labels = pictures.labelled_images(batch, self.num_images)
        # On all ranks, because a sharded model needs them all.
        classes = pictures.predict_logits(trainer, pl_module, images).argmax(dim=1)
        if trainer.is_global_zero:
            found = pictures.names_of(classes, datamodule)
            names = pictures.names_of(labels, datamodule)
            captions = []
            for name, label in zip(found, names, strict=True):
                captions.append(name if name == label else f"{name}\nis {label}")
            are_right = (classes == labels).tolist()
            picture = pictures.draw_grid(images, captions, are_right, datamodule)
            pictures.save_picture(trainer, picture, self.output_dir, "val/predictions")


class ConfusionMatrix(PictureCallback):
    """Draw how often the test images of a class were predicted as each class."""

    counts: Tensor | None = None  # int64 (K, K), labels by predictions

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the counts of another test."""
        self.counts = None

    @disable_on_error
    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *indices: int
    ) -> None:
        """Count the predictions of a batch of the first dataloader."""
        if any(indices[1:]):
            return
        images, labels = pictures.labelled_images(batch)
        logits = pictures.predict_logits(trainer, pl_module, images)
        classes = logits.shape[1]
        cells = labels * classes + logits.argmax(dim=1)
        counts = torch.bincount(cells, minlength=classes**2).view(classes, classes)
        self.counts = counts if self.counts is None else self.counts + counts

    @disable_on_error
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add up the counts of all devices, and draw them."""
        if self.counts is not None:
            counts = trainer.strategy.reduce(self.counts, reduce_op="sum")
            if trainer.is_global_zero:
                datamodule = getattr(trainer, "datamodule", None)
                names = pictures.names_of(range(len(counts)), datamodule)
                picture = pictures.draw_confusion_matrix(counts.cpu(), names)
                pictures.save_picture(trainer, picture, self.output_dir, "test/confusion_matrix")
