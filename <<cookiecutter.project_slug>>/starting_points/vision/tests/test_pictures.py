"""The pictures that the callbacks draw."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from src.callbacks.log_images import ConfusionMatrix, LogBatch, LogImages
from tests.conftest import quiet_trainer


class Animals(LightningDataModule):
    """Nine images of three animals; the brightest channel tells which, the last label is wrong."""

    class_names = ("cat", "Äffchen", "an animal with a name of two lines")
    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return batches of four images."""
        labels = torch.arange(9) % 3
        images = -torch.ones(9, 3, 12, 16)
        for image, label in zip(images, labels, strict=True):
            image[label] = 1
        labels[8] = 0
        return DataLoader(TensorDataset(images, labels), batch_size=4)

    val_dataloader = test_dataloader = train_dataloader


class Brightest(LightningModule):
    """Predict the brightest channel."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `(B, 3)`."""
        return images.mean(dim=(2, 3))

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """Learn nothing."""
        self(batch[0])

    validation_step = test_step = training_step

    def configure_optimizers(self) -> None:
        """Need no optimizer."""


def fit_and_test(model: LightningModule, folder: Path) -> ConfusionMatrix:
    """Run the callbacks of pictures, and return the one with counts."""
    output_dir = str(folder)
    matrix = ConfusionMatrix(output_dir)
    callbacks = [LogBatch(output_dir), LogImages(output_dir), matrix]
    trainer = quiet_trainer(callbacks=callbacks)
    trainer.fit(model, Animals())
    trainer.test(model, Animals(), verbose=False)
    return matrix


def test_pictures_show_what_was_predicted(tmp_path: Path) -> None:
    matrix = fit_and_test(Brightest(), tmp_path)
    assert matrix.metric is not None
    assert matrix.metric.compute().tolist() == [[3, 0, 1], [0, 3, 0], [0, 0, 2]]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "test_confusion_matrix_step_3.png",
        "train_batch_step_0.png",
        "val_predictions_step_3.png",
    ]
    with Image.open(tmp_path / "val_predictions_step_3.png") as grid:
        assert grid.getpixel((40, 40)) == (255, 0, 0)  # the first image as it was, unnormalised
