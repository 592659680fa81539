"""Show images that a generative model makes from the same noise, epoch after epoch."""

from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from src.callbacks.pictures import draw_grid, show


class LogSamples(Callback):
    """Draw what `model.sample(number)` gives, to a file and each tracker.

    Args:
        output_dir: where the PNG files go.
        num_images: how many.
    """

    def __init__(self, output_dir: str, num_images: int = 32) -> None:
        self.output_dir = Path(output_dir)
        self.num_images = num_images

    @rank_zero_only
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, without touching the random numbers of the training."""
        if trainer.sanity_checking:
            return
        with torch.random.fork_rng():
            torch.manual_seed(0)
            images = pl_module.sample(self.num_images).cpu()  # ty: ignore[not-callable]
        low, high = images.min(), images.max()
        blank = [""] * len(images)
        grid = draw_grid((images - low) / (high - low), blank, blank, columns=8)
        path = self.output_dir / f"samples_epoch_{trainer.current_epoch:03d}.png"
        show(trainer, grid, path, "val/samples")
