"""DataLoaders suit the machine where nobody says otherwise, and obey where somebody does."""

import os
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


def test_jobs_of_one_process_read_the_images_once_until_the_files_change(mnist_dir: Path) -> None:
    def test_images() -> torch.Tensor:
        datamodule = MNISTDataModule(str(mnist_dir), val_size=64)
        datamodule.prepare_data()
        datamodule.setup()
        assert isinstance(datamodule.data_test, InMemoryImages)
        return datamodule.data_test.images

    first = test_images()
    assert test_images() is first
    labels = mnist_dir / "MNIST" / "raw" / "train-labels-idx1-ubyte"
    os.utime(labels, ns=(0, labels.stat().st_mtime_ns + 10**9))
    assert test_images() is not first
