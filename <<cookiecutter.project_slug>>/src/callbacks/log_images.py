"""Show what the model makes of the same validation images, epoch after epoch."""

from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from src.callbacks.pictures import class_names, draw_grid, pixels, send_image


class LogImages(Callback):
    """Draw the first validation images with label and prediction, to a file and each tracker.

    The images are those of the first validation batch, which is the same in each epoch. A batch
    is `(images, labels)`, and the model maps images to logits.

    Args:
        output_dir: where the PNG files go.
        num_images: how many, at most a batch.
        columns: images a row.
    """

    def __init__(self, output_dir: str, num_images: int = 32, columns: int = 8) -> None:
        self.output_dir = Path(output_dir)
        self.num_images = num_images
        self.columns = columns

    @rank_zero_only
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
        images, labels = (part[: self.num_images] for part in batch)
        logits = pl_module(images)
        datamodule = trainer.datamodule  # ty: ignore[missing-attribute]
        names = class_names(datamodule, logits.shape[1])
        grid = draw_grid(
            pixels(images, datamodule),
            [names[i] for i in labels],
            [names[i] for i in logits.argmax(dim=1)],
            self.columns,
        )
        self.output_dir.mkdir(parents=True, exist_ok=True)
        grid.save(self.output_dir / f"val_epoch_{trainer.current_epoch:03d}.png")
        for logger in trainer.loggers:
            send_image(logger, "val/predictions", grid, trainer.global_step)
