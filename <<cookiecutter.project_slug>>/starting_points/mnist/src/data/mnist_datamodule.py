"""MNIST: 70,000 handwritten digits, downloaded once.

Source: Y. LeCun, C. Cortes and C. J. C. Burges, The MNIST database of handwritten digits.
"""

import logging
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.request import urlopen

import torch
from torch.utils.data import random_split
from torchvision.datasets import MNIST

from src.data.digits_datamodule import DigitsDataModule, InMemoryImages

log = logging.getLogger(__name__)

ANSWER_SECONDS = 6  # within which a mirror must answer
STALL_SECONDS = 15  # without data after which a download fails


class MNISTDataModule(DigitsDataModule):
    """55,000 images to train, 5,000 to validate, and the official 10,000 to test.

    Batches are images `(B, 1, 28, 28)` and labels, int64 `(B,)`. The images are uint8; `normalize`
    makes them float32 on the device.

    Args:
        data_dir: folder of the data; the files of MNIST are in its `MNIST/raw`.
        batch_size: images per step, on each device.
        eval_batch_size: images per step of validation and test; None takes `batch_size`.
        val_size: number of training images that are kept for validation.
        split_seed: seed of that choice; not the run's seed, so that runs can be compared.
        num_workers: processes that load the data; 0 is fastest for data in memory.
        offline_fallback: `"digits"` trains on scikit-learn's digits where MNIST can be neither
            found nor downloaded; None makes that an error.
        loader: further arguments of the `DataLoader`.
        device: where the images are kept, such as cuda; None: in the host's memory.

    Raises:
        ValueError: if MNIST can be neither found nor downloaded, or its files are damaged.
    """

    mean, std = (0.1307,), (0.3081,)

    def __init__(
        self,
        data_dir: str = "data",
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        val_size: int = 5_000,
        split_seed: int = 42,
        num_workers: int = 0,
        offline_fallback: Literal["digits"] | None = None,
        loader: Mapping[str, Any] | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__(batch_size, num_workers, loader, eval_batch_size, device)
        if offline_fallback not in (None, "digits"):
            raise ValueError(f"data.offline_fallback={offline_fallback}: set digits or null")
        self.data_dir = Path(data_dir)
        self.folder = self.data_dir / "MNIST" / "raw"
        self.val_size = val_size
        self.split_seed = split_seed
        self.offline_fallback = offline_fallback
        self.download_failed = False

    @property
    def is_downloaded(self) -> bool:
        """Whether MNIST's four files are there."""
        return all((self.folder / Path(name).stem).exists() for name, _ in MNIST.resources)

    @property
    def substitute(self) -> str | None:
        """The dataset that stands in for MNIST in this run, or None."""
        return None if self.is_downloaded else self.offline_fallback

    def prepare_data(self) -> None:
        """Download MNIST if it is not there; in one process per machine."""
        if self.is_downloaded or self.download_failed:  # `test` does not wait again after `fit`
            return
        try:
            self.download()
        except (OSError, RuntimeError) as error:
            self.download_failed = True
            reason = f"MNIST is not in {self.folder} and cannot be downloaded ({error})"
            if self.offline_fallback is None:
                message = f"{reason}. Put its files there, or train on digits: data=digits"
                raise ValueError(message) from error
            log.warning("%s: this run uses scikit-learn's 1,797 digits instead", reason)

    def download(self) -> None:
        """Download what is missing.

        Raises:
            OSError: if no mirror answers, or a download stalls.
            RuntimeError: if no mirror has a file with the right checksum.
        """
        if not mirror_answers():
            raise OSError(f"no mirror answers within {ANSWER_SECONDS} s")
        timeout = socket.getdefaulttimeout()
        socket.setdefaulttimeout(STALL_SECONDS)  # torchvision sets none
        try:
            MNIST(str(self.data_dir), download=True)
        finally:
            socket.setdefaulttimeout(timeout)

    def setup(self, stage: str | None = None) -> None:
        """Load and split the images once."""
        if self.substitute:
            super().setup(stage)
        elif self.data_train is None:
            train, self.data_test = self.load(train=True), self.load(train=False)
            generator = torch.Generator().manual_seed(self.split_seed)
            sizes = [len(train) - self.val_size, self.val_size]
            self.data_train, self.data_val = random_split(train, sizes, generator)

    def load(self, train: bool) -> InMemoryImages:
        """Return the official training or test images."""
        try:
            files = MNIST(str(self.data_dir), train)
        except (AssertionError, KeyError, RuntimeError, ValueError) as error:
            message = f"The files in {self.folder} are damaged: delete them to download them again"
            raise ValueError(message) from error
        return InMemoryImages(files.data.unsqueeze(1), files.targets, self.device)


def mirror_answers() -> bool:
    """Return whether a mirror answers within `ANSWER_SECONDS`."""
    answers: list[str] = []

    def ask() -> None:
        for mirror in MNIST.mirrors:
            with suppress(OSError):
                urlopen(mirror + MNIST.resources[-1][0], timeout=ANSWER_SECONDS / 2).close()
                answers.append(mirror)
                return

    thread = threading.Thread(target=ask, daemon=True)  # a name look-up has no time limit
    thread.start()
    thread.join(ANSWER_SECONDS)
    return bool(answers)
