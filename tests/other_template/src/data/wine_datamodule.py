"""Wines: thirteen measurements, three growers."""

from typing import Any

import torch
from lightning import LightningDataModule
from sklearn.datasets import load_wine
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split


class WineDataModule(LightningDataModule):
    def __init__(
        self,
        data_dir: str = "data/",
        train_val_test_split: tuple[int, int, int] = (120, 29, 29),
        batch_size: int = 64,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.data_train: Dataset[Any] | None = None
        self.data_val: Dataset[Any] | None = None
        self.data_test: Dataset[Any] | None = None
        self.batch_size_per_device = batch_size

    @property
    def num_classes(self) -> int:
        return 3

    def setup(self, stage: str | None = None) -> None:
        if self.trainer is not None:
            self.batch_size_per_device = self.hparams.batch_size // self.trainer.world_size
        if not self.data_train and not self.data_val and not self.data_test:
            rows, labels = load_wine(return_X_y=True)
            inputs = torch.tensor((rows - rows.mean(0)) / rows.std(0), dtype=torch.float32)
            self.data_train, self.data_val, self.data_test = random_split(
                TensorDataset(inputs, torch.tensor(labels)),
                self.hparams.train_val_test_split,
                generator=torch.Generator().manual_seed(42),
            )

    def loader(self, dataset: Any, shuffle: bool = False) -> DataLoader[Any]:
        return DataLoader(
            dataset,
            batch_size=self.batch_size_per_device,
            num_workers=self.hparams.num_workers,
            pin_memory=self.hparams.pin_memory,
            shuffle=shuffle,
        )

    def train_dataloader(self) -> DataLoader[Any]:
        return self.loader(self.data_train, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return self.loader(self.data_val)

    def test_dataloader(self) -> DataLoader[Any]:
        return self.loader(self.data_test)

    def teardown(self, stage: str | None = None) -> None:
        pass

    def state_dict(self) -> dict[Any, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        pass
