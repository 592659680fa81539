"""Dataloaders over a training, a validation and a test set, whatever is in them."""

from collections.abc import Callable, Mapping
from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from src.data.loading import loader_settings


class SplitDataModule(LightningDataModule):
    """Dataloaders over three datasets, which `setup` of a subclass fills in.

    Args:
        batch_size: examples a step, on each device.
        num_workers: processes that fetch; 0 is fastest for what is in memory.
        loader: further arguments of the DataLoader, over the defaults of `src/data/loading.py`.
        collate: makes a batch of a list of examples; None stacks their tensors.
        eval_batch_size: examples a step of validation and test; None takes `batch_size`.

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
            raise ValueError(f"batch_size={batch_size} is no batch: set data.batch_size=64")
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size
        self.num_workers = num_workers
        self.loader = loader
        self.collate = collate
        self.data_train: Dataset[Any] | None = None
        self.data_val: Dataset[Any] | None = None
        self.data_test: Dataset[Any] | None = None

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the training batches, in a new order each epoch."""
        return self._dataloader(self.data_train, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation batches, always in the same order."""
        return self._dataloader(self.data_val)

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the test batches, always in the same order."""
        return self._dataloader(self.data_test)

    def _dataloader(self, dataset: Dataset[Any] | None, shuffle: bool = False) -> DataLoader[Any]:
        assert dataset is not None, "setup() comes first"
        # BatchNorm cannot be trained on one example: such a rest waits for another epoch's order.
        rest = len(dataset) % self.batch_size  # ty: ignore[invalid-argument-type]
        settings: dict[str, Any] = {"drop_last": shuffle and rest == 1}
        return DataLoader(
            dataset,
            batch_size=self.batch_size if shuffle else self.eval_batch_size or self.batch_size,
            shuffle=shuffle,
            collate_fn=self.collate,
            **(settings | loader_settings(self.num_workers, self.loader)),
        )
