"""Loaders over a training, a validation and a test set."""

from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import Dataset

from src.data.loading import ResumableLoader, loader_settings

MANY_BATCHES = 20  # of an epoch, from which on it does without its last, shorter batch


class SplitDataModule(LightningDataModule):
    """Loaders over three datasets, which a subclass assigns in `setup`.

    Args:
        batch_size: samples per step, on each device.
        num_workers: processes that load the data; 0 is fastest for data in memory.
        loader: further arguments of the `DataLoader`; they override `loader_settings`.
        collate: makes a batch from a list of samples; None stacks their tensors.
        eval_batch_size: samples per step of validation and test; None takes `batch_size`.

    Raises:
        ValueError: if `batch_size` is not positive.
    """

    def __init__(
        self,
        batch_size: int = 64,
        num_workers: int = 0,
        loader: Mapping[str, Any] | None = None,
        collate: Callable[[Any], Any] | None = None,
        eval_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} is not positive: set data.batch_size=64")
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.settings = {"collate_fn": collate} | loader_settings(num_workers, loader)
        self.data_train: Any = None
        self.data_val: Any = None
        self.data_test: Any = None

    def train_dataloader(self) -> ResumableLoader:
        """Return the training batches, in a new order each epoch."""
        full_batches, rest = divmod(len(self.data_train), self.batch_size)
        # A shorter batch makes `torch.compile` compile again, and BatchNorm cannot train on a
        # single sample.
        drop_last = full_batches >= MANY_BATCHES or (full_batches > 0 and rest == 1)
        settings = {"drop_last": drop_last} | self.settings
        return ResumableLoader(self.data_train, self.batch_size, shuffle=True, **settings)

    def val_dataloader(self) -> ResumableLoader:
        """Return the validation batches, always in the same order."""
        return self.eval_loader(self.data_val)

    def test_dataloader(self) -> ResumableLoader:
        """Return the test batches, always in the same order."""
        return self.eval_loader(self.data_test)

    def eval_loader(self, dataset: Dataset[Any]) -> ResumableLoader:
        """Return the batches of a dataset in order."""
        return ResumableLoader(dataset, self.eval_batch_size or self.batch_size, **self.settings)
