"""Your data. It stands on random tensors until `setup` reads yours."""

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split

Batch = tuple[Tensor, ...]


class MyDataModule(LightningDataModule):
    """Batches of inputs, float32 `(B, 16)`, and their classes, int64 `(B,)`, of which there are 4.

    Args:
        batch_size: samples a step, on each device.
        num_workers: processes that fetch.
    """

    def __init__(self, batch_size: int = 64, num_workers: int = 0) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.data_train: Dataset[Batch] | None = None
        self.data_val: Dataset[Batch] | None = None
        self.data_test: Dataset[Batch] | None = None

    def prepare_data(self) -> None:
        """Download, and check what was downloaded: in one process, whatever the number."""

    def setup(self, stage: str | None = None) -> None:
        """Read the data and split it: in each process, and the same way in all of them."""
        if self.data_train is None:
            random = torch.Generator().manual_seed(0)  # its own: the split is not the run's seed's
            inputs = torch.randn(2000, 16, generator=random)
            labels = inputs[:, :4].argmax(dim=1)  # something to learn
            self.data_train, self.data_val, self.data_test = random_split(
                TensorDataset(inputs, labels), [1400, 300, 300], generator=random
            )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the training batches, in a new order each epoch."""
        return self.loader(self.data_train, shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the validation batches, always in the same order."""
        return self.loader(self.data_val)

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return the test batches, always in the same order."""
        return self.loader(self.data_test)

    def loader(self, dataset: Dataset[Batch] | None, shuffle: bool = False) -> DataLoader[Batch]:
        """Return batches of a dataset."""
        assert dataset is not None, "Lightning calls setup() first"
        return DataLoader(
            dataset,
            batch_size=self.batch_size,
            shuffle=shuffle,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
        )
