"""Show what the model makes of the same validation images, epoch after epoch."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from src.callbacks.pictures import (
    draw_grid,
    is_classification,
    labelled_images,
    names_of,
    pixels,
    show,
)


class LogImages(Callback):
    """Draw the first validation images with label and prediction, to a file and each tracker.

    The images are those of the first validation batch, which is the same in each epoch. Batches
    and models other than those of image classification are passed over.

    Args:
        output_dir: where the PNG files go.
        num_images: how many, at most a batch.
        columns: images a row.
    """

    def __init__(self, output_dir: str, num_images: int = 32, columns: int = 8) -> None:
        self.output_dir = Path(output_dir)
        self.num_images = num_images
        self.columns = columns

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: tuple[Tensor, Tensor],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the first batch; but not in the sanity check, before anything was learned."""
        if batch_idx > 0 or dataloader_idx > 0 or trainer.sanity_checking:
            return
        labelled = labelled_images(batch)
        if labelled is None:
            return
        images, labels = (part[: self.num_images] for part in labelled)
        logits = pl_module(images)  # on all ranks: those of a sharded model gather it together
        if not is_classification(logits) or not trainer.is_global_zero:
            return
        datamodule = trainer.datamodule  # ty: ignore[missing-attribute]
        grid = draw_grid(
            pixels(images, datamodule),
            names_of(labels, datamodule),
            names_of(logits.argmax(dim=1), datamodule),
            self.columns,
        )
        path = self.output_dir / f"val_epoch_{trainer.current_epoch:03d}.png"
        show(trainer, grid, path, "val/predictions")
