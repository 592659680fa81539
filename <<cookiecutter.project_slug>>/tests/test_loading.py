"""DataLoaders suit the machine where nobody says otherwise, and obey where somebody does."""

from pathlib import Path

import torch

from src.data.in_memory import InMemoryImages
from src.data.mnist_datamodule import MNISTDataModule


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
