"""Pictures: of any classification datamodule, in the run directory, and right."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from src.callbacks.confusion_matrix import ConfusionMatrix
from src.callbacks.log_images import LogImages
from src.callbacks.pictures import draw_confusion_matrix, pixels
from src.callbacks.worst_mistakes import WorstMistakes
from src.train import train
from tests.conftest import SMALL, Compose


class Animals(LightningDataModule):
    """RGB images of three animals; the mean of each channel tells which."""

    def __init__(self, named: bool) -> None:
        super().__init__()
        if named:
            self.class_names = ("cat", "dog", "a very long name of a class")
            self.mean, self.std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Return 9 images with their labels; the last label is wrong."""
        labels = torch.arange(9) % 3
        images = -torch.ones(9, 3, 12, 16)
        images[torch.arange(9), labels] = 1
        labels[8] = 0
        return DataLoader(TensorDataset(images, labels), batch_size=4)

    test_dataloader = val_dataloader


class Brightest(LightningModule):
    """Predicts the brightest channel."""

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `(B, 3)`."""
        return images.mean(dim=(2, 3))

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Predict."""
        self(batch[0])

    test_step = validation_step


@pytest.mark.parametrize("named", [True, False])
def test_pictures_of_rgb_images(tmp_path: Path, named: bool) -> None:
    matrix, worst = ConfusionMatrix(str(tmp_path)), WorstMistakes(str(tmp_path))
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[LogImages(str(tmp_path)), matrix, worst],
    )
    model, datamodule = Brightest(), Animals(named)
    trainer.validate(model, datamodule, verbose=False)
    trainer.test(model, datamodule, verbose=False)
    assert matrix.counts is not None
    assert matrix.counts.tolist() == [[3, 0, 1], [0, 3, 0], [0, 0, 2]]
    assert [mistake[2:] for mistake in worst.worst] == [(0, 2)]
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "val_epoch_000.png",
        "test_confusion_matrix.png",
        "test_worst_mistakes.png",
    }
    with Image.open(tmp_path / "val_epoch_000.png") as grid:
        assert grid.getpixel((4 + 42, 4 + 42)) == (255, 0, 0)  # the first image, de-normalised


def test_images_come_back_as_they_were_before_normalisation() -> None:
    raw = torch.rand(2, 3, 5, 4)
    datamodule = Animals(named=True)
    assert torch.allclose(pixels((raw - 0.5) / 0.5, datamodule), raw, atol=1e-6)


def test_a_confusion_matrix_of_many_classes_stays_a_picture() -> None:
    picture = draw_confusion_matrix(torch.eye(200, dtype=torch.int64), ["x"] * 200)
    assert max(picture.size) < 1_200


def test_a_run_leaves_its_pictures(composed: Compose, tmp_path: Path) -> None:
    train(composed(*SMALL, "trainer.max_epochs=2", "model.optimizer.lr=0"))
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == [
        "test_confusion_matrix.png",
        "test_worst_mistakes.png",
        "train_batch.png",
        "val_epoch_000.png",
        "val_epoch_001.png",
    ]
