"""The test images that the model is most wrong about: often the labels are."""

from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from src.callbacks.pictures import draw_grid, names_of, pixels, show
from src.callbacks.tested_predictions import TestedPredictions


class WorstMistakes(TestedPredictions):
    """Draw the mistakes of the test whose label got the least probability, the worst first.

    With several devices these are the mistakes of the first.

    Args:
        output_dir: where the PNG file goes.
        num_images: how many.
        columns: images a row.
    """

    def __init__(self, output_dir: str, num_images: int = 32, columns: int = 8) -> None:
        super().__init__()
        self.output_dir = Path(output_dir)
        self.num_images = num_images
        self.columns = columns
        self.worst: list[tuple[float, Tensor, int, int]] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the test before."""
        super().on_test_start(trainer, pl_module)
        self.worst = []

    def update(self, images: Tensor, labels: Tensor, logits: Tensor) -> None:
        """Keep the worst mistakes so far."""
        probabilities = logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
        predictions = logits.argmax(dim=1)
        for i in torch.nonzero(predictions != labels)[:, 0].tolist():
            image = images[i].detach().cpu()
            self.worst.append((probabilities[i].item(), image, int(labels[i]), int(predictions[i])))
        self.worst = sorted(self.worst, key=lambda mistake: mistake[0])[: self.num_images]

    @rank_zero_only
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw them, if there are any."""
        if not self.worst:
            return
        _, images, labels, predictions = zip(*self.worst, strict=True)
        datamodule = trainer.datamodule  # ty: ignore[missing-attribute]
        picture = draw_grid(
            pixels(torch.stack(images), datamodule),
            names_of(labels, datamodule),
            names_of(predictions, datamodule),
            self.columns,
        )
        path = self.output_dir / "test_worst_mistakes.png"
        show(trainer, picture, path, "test/worst_mistakes")
