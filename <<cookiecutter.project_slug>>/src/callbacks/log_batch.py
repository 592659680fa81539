"""Show the first training batch as the model gets it, before it learns from it."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from src.callbacks.pictures import draw_grid, labelled_images, names_of, pixels, show


class LogBatch(Callback):
    """Draw the first training images with their labels, to a file and each tracker.

    Augmentation, colours and labels can be checked there at a glance. Batches that hold no images
    are passed over.

    Args:
        output_dir: where the PNG file goes.
        num_images: how many, at most a batch.
        columns: images a row.
    """

    def __init__(self, output_dir: str, num_images: int = 32, columns: int = 8) -> None:
        self.output_dir = Path(output_dir)
        self.num_images = num_images
        self.columns = columns

    @rank_zero_only
    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: tuple[Tensor, Tensor],
        batch_idx: int,
    ) -> None:
        """Draw the first batch of the run."""
        if trainer.global_step > 0 or batch_idx > 0:
            return
        labelled = labelled_images(batch)
        if labelled is None:
            return
        images, labels = (part[: self.num_images] for part in labelled)
        datamodule = trainer.datamodule  # ty: ignore[missing-attribute]
        names = names_of(labels, datamodule)
        grid = draw_grid(pixels(images, datamodule), names, names, self.columns)
        show(trainer, grid, self.output_dir / "train_batch.png", "train/batch")
