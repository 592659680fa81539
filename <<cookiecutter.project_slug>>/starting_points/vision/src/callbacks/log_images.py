"""Draw the first training batch, validation predictions, and the confusion matrix of the test."""

import logging
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.hooks import RemovableHandle
from torchmetrics.classification import MulticlassConfusionMatrix

from src.callbacks import pictures
from src.callbacks.failsafe import disable_on_error

log = logging.getLogger(__name__)


class PictureCallback(Callback):
    """What all callbacks that draw have in common.

    Captions are the names in the datamodule's `class_names`, else the labels. The datamodule's
    `mean` and `std` of the channels undo a normalisation; without them, values are from 0 to 1.

    Args:
        output_dir: folder of the PNG files.
        num_images: how many images a grid shows, at most a batch.
    """

    def __init__(self, output_dir: str, num_images: int = 32) -> None:
        self.output_dir = Path(output_dir)
        self.num_images = num_images
        self.reason = ""  # why there is nothing to draw
        self.disabled = False

    def disable(self, trainer: Trainer, reason: str) -> None:
        """Draw nothing in this run; a reason is logged once for all callbacks that draw."""
        drawing = [other for other in trainer.callbacks if isinstance(other, PictureCallback)]
        if reason not in [other.reason for other in drawing]:
            log.warning("No pictures: %s", reason)
        self.reason = reason
        self.disabled = True


class PredictionCallback(PictureCallback):
    """Keep the predictions of a step, from the call `self(images)` that the step itself makes.

    Calling the model once more would draw random numbers, change buffers and run other hooks: the
    weights would depend on the pictures.
    """

    handle: RemovableHandle | None = None  # of the hook, during a step
    images: Tensor  # (B, C, H, W)
    labels: Tensor  # (B,)
    predictions: Tensor | None = None  # int64 (B,)
    num_classes = 0

    def watch_step(self, trainer: Trainer, pl_module: LightningModule, batch: Any) -> None:
        """Listen to the calls of the module in this step, if the batch holds images."""
        self.stop_watching()
        found = pictures.labelled_images(batch)
        if found is None:
            self.disable(trainer, pictures.NO_IMAGES)
            return
        self.images, self.labels = found
        self.predictions = None
        self.handle = pl_module.register_forward_hook(self.keep_predictions)

    @disable_on_error
    def keep_predictions(self, module: Any, inputs: Any, logits: Any) -> None:
        """Keep the likeliest classes, if these are the first logits `(B, K)` of the step."""
        if self.predictions is None and pictures.are_logits(logits, len(self.labels)):
            self.num_classes = logits.shape[1]
            self.predictions = logits.detach().argmax(dim=1)

    def predictions_of(self, trainer: Trainer, step: str) -> Tensor | None:
        """Return the classes `(B,)` that a step predicted; None, once, if they are not known."""
        self.stop_watching()
        if self.predictions is None:
            self.disable(trainer, f"{step} does not call self(images), or gets no logits (B, K)")
        return self.predictions

    def stop_watching(self) -> None:
        """Remove the hook from the module."""
        if self.handle is not None:
            self.handle.remove()
            self.handle = None

    def on_exception(self, *_: Any) -> None:
        """Leave no hook on a module whose step failed."""
        self.stop_watching()


class LogBatch(PictureCallback):
    """Draw the first training images with their labels, as the model gets them."""

    @disable_on_error
    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Draw the first batch of the run."""
        is_first = trainer.global_step == 0 and batch_idx == 0
        if is_first and trainer.is_global_zero:
            found = pictures.labelled_images(batch, self.num_images)
            if found is None:
                self.disable(trainer, pictures.NO_IMAGES)
                return
            images, labels = found
            datamodule = getattr(trainer, "datamodule", None)
            captions = pictures.names_of(labels, datamodule)
            picture = pictures.draw_grid(images, captions, [True] * len(captions), datamodule)
            pictures.save_picture(trainer, picture, self.output_dir, "train/batch")


class LogImages(PredictionCallback):
    """Draw the first validation images: the prediction, and the label where it differs."""

    @disable_on_error
    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, *indices: int
    ) -> None:
        """Watch the first step of each validation, except of the sanity check."""
        is_first = not any(indices)  # of the batch and of the dataloader
        if is_first and not trainer.sanity_checking:
            self.watch_step(trainer, pl_module, batch)

    @disable_on_error
    def on_validation_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Draw the images of the step that was watched."""
        if self.handle is None:
            return
        classes = self.predictions_of(trainer, "validation_step")
        if classes is not None and trainer.is_global_zero:
            datamodule = getattr(trainer, "datamodule", None)
            labels = self.labels[: self.num_images]
            classes = classes[: self.num_images]
            found = pictures.names_of(classes, datamodule)
            names = pictures.names_of(labels, datamodule)
            captions = []
            for name, label in zip(found, names, strict=True):
                captions.append(name if name == label else f"{name}\nis {label}")
            are_right = (classes == labels).tolist()
            images = self.images[: self.num_images]
            picture = pictures.draw_grid(images, captions, are_right, datamodule)
            pictures.save_picture(trainer, picture, self.output_dir, "val/predictions")


class ConfusionMatrix(PredictionCallback):
    """Draw how often the test images of a class were predicted as each class."""

    metric: MulticlassConfusionMatrix | None = None

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the counts of another test."""
        self.metric = None

    @disable_on_error
    def on_test_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, *indices: int
    ) -> None:
        """Watch the steps of the first dataloader."""
        if not any(indices[1:]):
            self.watch_step(trainer, pl_module, batch)

    @disable_on_error
    def on_test_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Count the predictions of the step that was watched."""
        if self.handle is None:
            return
        classes = self.predictions_of(trainer, "test_step")
        if classes is not None:
            if self.metric is None:
                metric = MulticlassConfusionMatrix(self.num_classes, validate_args=False)
                self.metric = metric.to(classes.device)
            self.metric.update(classes, self.labels)

    @disable_on_error
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add up the counts of all devices, and draw them."""
        if self.metric is not None:
            self.metric.compute()  # on all devices, which it adds up
            if trainer.is_global_zero:
                datamodule = getattr(trainer, "datamodule", None)
                names = pictures.names_of(range(self.num_classes), datamodule)
                picture = pictures.draw_confusion_matrix(self.metric, names)
                pictures.save_picture(trainer, picture, self.output_dir, "test/confusion_matrix")
