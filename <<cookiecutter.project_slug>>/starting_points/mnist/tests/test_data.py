"""MNIST and the digits: sizes, batches, splits, and MNIST's files missing or damaged."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.data.digits_datamodule import DigitsDataModule
from src.data.mnist_datamodule import MNISTDataModule

SIZES = {"train": 320, "t10k": 64}


@pytest.fixture
def mnist_dir(tmp_path: Path) -> Path:
    """Return a data folder with a small MNIST: 320 images to train, 64 to test."""
    folder = tmp_path / "MNIST/raw"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, size in SIZES.items():
        for kind, shape in (("images-idx3", (size, 28, 28)), ("labels-idx1", (size,))):
            array = random.integers(0, 10, shape, dtype=np.uint8)
            header = struct.pack(f">BBBB{len(shape)}i", 0, 0, 8, len(shape), *shape)
            (folder / f"{name}-{kind}-ubyte").write_bytes(header + array.tobytes())
    return tmp_path


def sizes(datamodule: DigitsDataModule) -> list[int]:
    """Return the lengths of the training, validation and test sets."""
    return [len(s) for s in (datamodule.data_train, datamodule.data_val, datamodule.data_test)]


def test_mnist_is_split_and_fetched_in_batches(mnist_dir: Path) -> None:
    datamodule = MNISTDataModule(str(mnist_dir), batch_size=32, val_size=64)
    datamodule.prepare_data()
    datamodule.setup()
    assert sizes(datamodule) == [256, 64, 64]
    assert datamodule.substitute is None
    images, labels = next(iter(datamodule.test_dataloader()))
    assert images.shape == (32, 1, 28, 28)
    assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
    image, label = datamodule.data_test[7]
    assert torch.equal(image, images[7])
    assert label == labels[7]


def test_digits_stand_in_for_mnist_only_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    datamodule = MNISTDataModule(str(tmp_path), offline_fallback="digits")
    datamodule.prepare_data()
    assert "this run uses scikit-learn's 1,797 digits instead" in caplog.text
    datamodule.setup()
    assert datamodule.substitute == "digits"
    assert sizes(datamodule) == [1297, 250, 250]
    with pytest.raises(ValueError, match="data=digits"):
        MNISTDataModule(str(tmp_path)).prepare_data()


def test_damaged_files_are_an_error(mnist_dir: Path) -> None:
    path = mnist_dir / "MNIST/raw/t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="damaged: delete them"):
        MNISTDataModule(str(mnist_dir), offline_fallback="digits", val_size=64).setup()


def test_an_image_file_is_predicted_as_the_images_of_the_dataset(tmp_path: Path) -> None:
    datamodule = DigitsDataModule()
    datamodule.setup()
    pixels = datamodule.data_test.dataset.images[0, 0].numpy()
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    (found,) = datamodule.prediction_dataset(str(tmp_path / "digit.png"))
    batch = datamodule.data_test.dataset[[0]]
    images, _ = datamodule.on_after_batch_transfer(batch, 0)
    assert torch.allclose(found, images[0], atol=1e-3)
