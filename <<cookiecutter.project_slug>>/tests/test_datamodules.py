"""The datasets: their sizes, their batches, and what happens when files are missing or damaged."""

from pathlib import Path

import pytest
import torch

from src.data import mnist_files
from src.data.digits_datamodule import DigitsDataModule
from src.data.in_memory import InMemoryDataModule
from src.data.mnist_datamodule import MNISTDataModule
from tests.conftest import SIZES


def sizes(datamodule: InMemoryDataModule) -> list[int]:
    """Return the lengths of the training, validation and test sets."""
    loaders = (
        datamodule.train_dataloader(),
        datamodule.val_dataloader(),
        datamodule.test_dataloader(),
    )
    return [sum(len(labels) for _, labels in loader) for loader in loaders]


def test_mnist_is_split_and_fetched_in_batches(mnist_dir: Path) -> None:
    datamodule = MNISTDataModule(str(mnist_dir), batch_size=32, val_size=64)
    datamodule.prepare_data()
    assert datamodule.data_train is datamodule.data_val is datamodule.data_test is None
    datamodule.setup()
    assert sizes(datamodule) == [SIZES["train"] - 64, 64, SIZES["t10k"]]
    images, labels = next(iter(datamodule.train_dataloader()))
    assert images.shape == (32, 1, 28, 28)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert datamodule.substitute is None


def test_a_batch_is_its_images_one_by_one(mnist_dir: Path) -> None:
    datamodule = MNISTDataModule(str(mnist_dir), val_size=64)
    datamodule.setup()
    assert datamodule.data_test is not None
    images, labels = next(iter(datamodule.test_dataloader()))
    for i in (0, 7, 63):
        image, label = datamodule.data_test[i]
        assert torch.equal(image, images[i])
        assert label == labels[i]


def test_validation_images_do_not_depend_on_the_seed_of_the_run(mnist_dir: Path) -> None:
    validation = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        datamodule = MNISTDataModule(str(mnist_dir), val_size=64)
        datamodule.setup()
        validation.append(next(iter(datamodule.val_dataloader()))[0])
    assert torch.equal(*validation)


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every mirror refuse the connection at once."""
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])


@pytest.mark.usefixtures("unreachable")
def test_digits_stand_in_for_mnist_only_where_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    datamodule = MNISTDataModule(str(tmp_path), offline_fallback="digits")
    datamodule.prepare_data()
    assert "THIS RUN USES THE EMBEDDED DIGITS" in caplog.text
    datamodule.setup()
    assert datamodule.substitute == "digits"
    assert sizes(datamodule) == [1297, 250, 250]
    with pytest.raises(ValueError, match="data=digits"):
        MNISTDataModule(str(tmp_path)).prepare_data()


@pytest.mark.parametrize("damage", ["truncated", "changed"])
def test_damaged_files_are_noticed(tmp_path: Path, mnist_dir: Path, damage: str) -> None:
    raw = mnist_files.folder(tmp_path)
    raw.mkdir(parents=True)
    for path in mnist_files.folder(mnist_dir).iterdir():
        (raw / path.name).write_bytes(path.read_bytes())
    victim = raw / "t10k-labels-idx1-ubyte"
    if damage == "truncated":
        victim.write_bytes(victim.read_bytes()[:-1])
    else:  # as long as the real one, with other bytes in it
        victim.write_bytes(b"\0\0\x08\x01" + (10_000).to_bytes(4, "big") + bytes(10_000))
    with pytest.raises(ValueError, match=f"{victim.name}.*(truncated|checksum)"):
        MNISTDataModule(str(tmp_path), offline_fallback="digits").prepare_data()


def test_digits_need_no_files() -> None:
    datamodule = DigitsDataModule(batch_size=32)
    datamodule.prepare_data()
    datamodule.setup()
    assert sizes(datamodule) == [1297, 250, 250]
    images, labels = next(iter(datamodule.val_dataloader()))
    assert images.shape == (32, 1, 28, 28)
    assert abs(images.mean().item()) < 0.2
    assert set(labels.tolist()) <= set(range(10))
