"""DataLoaders suit the machine where nobody says otherwise, and obey where somebody does."""

from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

from src.data.in_memory import InMemoryImages
from src.data.mnist_datamodule import MNISTDataModule
from src.data.split_datamodule import SplitDataModule


def test_each_default_can_be_overridden(mnist_dir: Path) -> None:
    chosen = {"prefetch_factor": 7, "persistent_workers": False, "pin_memory": True}
    datamodule = MNISTDataModule(str(mnist_dir), val_size=64, num_workers=1, loader=chosen)
    datamodule.setup()
    loader = datamodule.train_dataloader()
    assert loader.num_workers == 1
    assert loader.prefetch_factor == 7
    assert not loader.persistent_workers
    assert loader.pin_memory


def test_images_are_mapped_once_and_their_files_left_alone(mnist_dir: Path) -> None:
    def loaded() -> MNISTDataModule:
        datamodule = MNISTDataModule(str(mnist_dir), val_size=64)
        datamodule.prepare_data()
        datamodule.setup()
        return datamodule

    datamodule = loaded()
    train, val = datamodule.data_train, datamodule.data_val
    assert isinstance(train, InMemoryImages)
    assert isinstance(val, InMemoryImages)
    assert train._images is val._images
    before = train.images
    train._images.zero_()
    again = loaded().data_train
    assert isinstance(again, InMemoryImages)
    assert torch.equal(again.images, before)
    assert before.any()


@pytest.mark.parametrize(("batch_size", "batches"), [(64, 2), (127, 1), (128, 1), (100, 2)])
def test_a_last_batch_of_one_is_left_out(batch_size: int, batches: int) -> None:
    datamodule = SplitDataModule(batch_size)
    datamodule.data_train = datamodule.data_val = TensorDataset(torch.zeros(128, 3))
    assert len(datamodule.train_dataloader()) == batches
    assert len(datamodule.val_dataloader()) == -(-128 // batch_size)


def test_evaluation_has_a_batch_size_of_its_own(mnist_dir: Path) -> None:
    datamodule = MNISTDataModule(str(mnist_dir), 16, eval_batch_size=24, val_size=64)
    datamodule.setup()
    loaders = (datamodule.train_dataloader(), datamodule.val_dataloader())
    assert [len(next(iter(loader))[1]) for loader in loaders] == [16, 24]
    assert len(datamodule.test_dataloader()) == 3  # of 64 images
