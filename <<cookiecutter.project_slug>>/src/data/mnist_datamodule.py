"""MNIST, downloaded once, then mapped into memory.

Source: Y. LeCun, C. Cortes and C. J. C. Burges, The MNIST database of handwritten digits.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from src.data import mnist_files
from src.data.digits_datamodule import split_digits
from src.data.folds import split
from src.data.in_memory import InMemoryDataModule, InMemoryImages

log = logging.getLogger(__name__)


class MNISTDataModule(InMemoryDataModule):
    """55,000 images to train, 5,000 to validate, and the official 10,000 to test.

    Args:
        data_dir: the files are looked for, and downloaded to, `data_dir/MNIST/raw`.
        batch_size: images a step, on each device.
        eval_batch_size: images a step of validation and test; None takes `batch_size`.
        val_size: how many of the training images are kept apart for validation.
        split_seed: which ones; apart from the run's seed, so that runs can be compared.
        fold: validate on this part of `num_folds` instead, counted from 0, and train on the others.
        num_folds: parts of the training images.
        num_workers: processes that fetch; 0 is fastest for what is in memory.
        offline_fallback: `"digits"` trains on scikit-learn's embedded digits where MNIST can be
            neither found nor downloaded; None makes that an error.
        loader: further arguments of the DataLoader, over the defaults of `src/data/loading.py`.

    Raises:
        ValueError: in `prepare_data`, if MNIST cannot be had, or its files are damaged.
    """

    class_names = tuple("0123456789")
    image_shape = (1, 28, 28)
    mean, std = (0.1307,), (0.3081,)

    def __init__(
        self,
        data_dir: str = "data",
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        val_size: int = 5_000,
        split_seed: int = 42,
        fold: int | None = None,
        num_folds: int = 5,
        num_workers: int = 0,
        offline_fallback: Literal["digits"] | None = None,
        loader: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(batch_size, num_workers, loader, eval_batch_size)
        self.data_dir = Path(data_dir)
        self.val_size = val_size
        self.split_seed = split_seed
        self.fold, self.num_folds = fold, num_folds
        if offline_fallback not in (None, "digits"):
            raise ValueError(
                f"offline_fallback={offline_fallback} is unknown: "
                "set data.offline_fallback to digits or null"
            )
        self.offline_fallback = offline_fallback
        self._download_failed = False

    @property
    def substitute(self) -> str | None:
        """The dataset that stands in for MNIST in this run, or None."""
        return None if mnist_files.exist(self.data_dir) else self.offline_fallback

    def prepare_data(self) -> None:
        """Download what is missing and check what is there; runs in one process a machine."""
        if self._download_failed:  # asked before, by `fit`: do not wait again for `test`
            return
        if not mnist_files.exist(self.data_dir):
            try:
                mnist_files.download(self.data_dir)
            except (OSError, RuntimeError) as error:
                if self.offline_fallback is None:
                    raise ValueError(
                        f"MNIST is not in {mnist_files.folder(self.data_dir)} and cannot be "
                        f"downloaded ({error}). Put its four files there, or train on the "
                        "embedded digits: data=digits"
                    ) from error
                self._download_failed = True
                log.warning(
                    "MNIST cannot be downloaded (%s): THIS RUN USES THE EMBEDDED DIGITS INSTEAD. "
                    "data.offline_fallback=null makes this an error.",
                    error,
                )
                return
        mnist_files.check(self.data_dir)

    def setup(self, stage: str | None = None) -> None:
        """Load and split the images once."""
        if self.data_train is not None:
            return
        if self.substitute == "digits":
            self.data_train, self.data_val, self.data_test = split_digits(
                self.mean, self.std, self.fold, self.num_folds
            )
            return
        train, self.data_test = (self._load(train) for train in (True, False))
        generator = torch.Generator().manual_seed(self.split_seed)
        order = torch.randperm(len(train), generator=generator)
        rows = split(order, self.val_size, self.fold, self.num_folds)
        self.data_train, self.data_val = (train.subset(part) for part in rows)

    def _load(self, train: bool) -> InMemoryImages:
        images, labels = mnist_files.read(self.data_dir, train)
        return InMemoryImages(images, labels, self.mean, self.std)
