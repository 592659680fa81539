"""Draw the first training batch, and validation images with their predictions."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from src.callbacks.failsafe import disable_on_error
from src.callbacks.pictures import (
    GREEN,
    GREY,
    RED,
    grid_picture,
    labelled_images,
    names_of,
    predict_logits,
    save_picture,
)


class LogBatch(Callback):
    """Draw the first training images with their labels, as the model gets them.

    Args:
        output_dir: folder of the PNG file.
        num_images: how many, at most a batch.
    """

    def __init__(self, output_dir: str, num_images: int = 32) -> None:
        self.output_dir = Path(output_dir)
        self.num_images = num_images

    @disable_on_error
    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Draw the first batch of the run."""
        if trainer.global_step > 0 or batch_idx > 0 or not trainer.is_global_zero:
            return
        images, labels = (part[: self.num_images] for part in labelled_images(batch))
        datamodule = trainer.datamodule
        captions = names_of(labels, datamodule)
        picture = grid_picture(images, captions, [GREY] * len(captions), datamodule)
        save_picture(trainer, picture, self.output_dir / "train_batch.png", "train/batch")


class LogImages(Callback):
    """Draw the first validation images after each validation: prediction, and label if it differs.

    Args:
        output_dir: folder of the PNG files.
        num_images: how many, at most a batch.
    """

    def __init__(self, output_dir: str, num_images: int = 32) -> None:
        self.output_dir = Path(output_dir)
        self.num_images = num_images

    @disable_on_error
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the first batch, except in the sanity check, when nothing has been learned yet."""
        if batch_idx > 0 or dataloader_idx > 0 or trainer.sanity_checking:
            return
        images, labels = (part[: self.num_images] for part in labelled_images(batch))
        logits = predict_logits(trainer, pl_module, images)  # on all ranks, for sharded models
        if not trainer.is_global_zero:
            return
        datamodule = trainer.datamodule
        classes = logits.argmax(dim=1)
        pairs = zip(names_of(classes, datamodule), names_of(labels, datamodule), strict=True)
        captions = [found if found == name else f"{found} (is {name})" for found, name in pairs]
        colours = [GREEN if right else RED for right in (classes == labels).tolist()]
        picture = grid_picture(images, captions, colours, datamodule)
        path = self.output_dir / f"val_epoch_{trainer.current_epoch:03d}.png"
        save_picture(trainer, picture, path, "val/predictions")
