"""Image files in every common format, and the pictures that the callbacks draw."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from src.callbacks.log_images import ConfusionMatrix, LogBatch, LogImages
from src.data.image_files import ImagesToPredict, read_image
from tests.conftest import quiet_trainer

ORANGE = (200, 100, 50)


FORMATS = {
    "jpg": ["RGB", "L", "CMYK"],
    "JPEG": ["RGB"],
    "png": ["RGB", "L", "P", "RGBA", "1"],
    "webp": ["RGB", "RGBA"],
    "gif": ["P"],
    "bmp": ["RGB"],
    "tiff": ["RGB", "CMYK"],
}


@pytest.mark.parametrize(("suffix", "mode"), [(s, m) for s, ms in FORMATS.items() for m in ms])
def test_each_format_is_read_as_rgb(tmp_path: Path, suffix: str, mode: str) -> None:
    path = tmp_path / f"picture [1].{suffix}"
    Image.new("RGB", (6, 4), ORANGE).convert(mode).save(path)
    with Image.open(path) as file:
        expected = torch.from_numpy(np.array(file.convert("RGB"))).permute(2, 0, 1)
    found = read_image(path)
    assert found.dtype == torch.uint8
    assert (found.int() - expected.int()).abs().max() <= 2


def test_orientation_depth_and_transparency_are_taken_into_account(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (6, 4), ORANGE).save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (3, 6, 4)
    Image.new("RGBA", (6, 4), (0, 0, 0, 0)).save(tmp_path / "transparent.png")
    assert read_image(tmp_path / "transparent.png").min() == 255
    for suffix in ("png", "tif"):
        grey = Image.fromarray(np.full((4, 6), 100 * 257, dtype=np.uint16))
        grey.save(tmp_path / f"grey16.{suffix}")
        assert read_image(tmp_path / f"grey16.{suffix}").unique().tolist() == [100]


def test_files_to_predict_are_found_and_broken_ones_named(tmp_path: Path) -> None:
    Image.new("RGB", (6, 4)).save(tmp_path / "b.PNG")
    (tmp_path / "a.jpg").write_text("no image")
    for ignored in ("Thumbs.db", ".hidden.png"):
        (tmp_path / ignored).touch()
    images = ImagesToPredict(str(tmp_path), torch.nn.Identity())
    assert [Path(name).name for name in images.names] == ["a.jpg", "b.PNG"]
    with pytest.raises(ValueError, match=r"a\.jpg cannot be read"):
        images[0]
    assert images[1].shape == (3, 4, 6)
    with pytest.raises(ValueError, match="neither an image file nor a folder"):
        ImagesToPredict(str(tmp_path / "missing"), torch.nn.Identity())


class Animals(LightningDataModule):
    """Nine images of three animals; the brightest channel tells which, the last label is wrong."""

    class_names = ("cat", "dog", "an animal with a long name")
    mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return batches of four images."""
        labels = torch.arange(9) % 3
        images = -torch.ones(9, 3, 12, 16)
        images[torch.arange(9), labels] = 1
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

    validation_step = test_step = training_step

    def configure_optimizers(self) -> None:
        """Need no optimizer."""


class WithoutForward(Brightest):
    """A model that cannot be called with images."""

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Need the labels, too."""
        return labels


def fit_and_test(model: LightningModule, folder: Path) -> ConfusionMatrix:
    """Run the callbacks of pictures, and return the one with counts."""
    matrix = ConfusionMatrix(str(folder))
    trainer = quiet_trainer(callbacks=[LogBatch(str(folder)), LogImages(str(folder)), matrix])
    trainer.fit(model, Animals())
    trainer.test(model, Animals(), verbose=False)
    return matrix


def test_pictures_show_what_was_predicted(tmp_path: Path) -> None:
    matrix = fit_and_test(Brightest(), tmp_path)
    assert matrix.counts is not None
    assert matrix.counts.tolist() == [[3, 0, 1], [0, 3, 0], [0, 0, 2]]
    names = ["test_confusion_matrix_step_3", "train_batch_step_0", "val_predictions_step_3"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name}.png" for name in names]
    with Image.open(tmp_path / "val_predictions_step_3.png") as grid:
        assert grid.getpixel((40, 40)) == (255, 0, 0)  # the first image as it was, unnormalised


def test_a_model_without_pictures_trains(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        fit_and_test(WithoutForward(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["train_batch_step_0.png"]
    disabled = [r.getMessage() for r in caplog.records if "disabled" in r.getMessage()]
    assert [message.split()[0] for message in disabled] == ["LogImages", "ConfusionMatrix"]
