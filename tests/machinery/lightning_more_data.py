"""Further DataModules, and the modules that talk to them: hooks, epochs, folds."""

from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities import CombinedLoader
from lightning_code import Classifier
from lightning_data import (
    BATCH,
    EVAL,
    TRAIN,
    PlainData,
    samples,
    stacked,
)
from sklearn.model_selection import KFold
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, random_split


class OwnBatch:
    """Nothing that Lightning can move."""

    def __init__(self, items: list[Any]) -> None:
        self.inputs, self.targets = stacked(items)


class OwnBatchData(PlainData):
    """Every hook of a datamodule, and what may be asked in it."""

    collate = OwnBatch

    def __init__(self) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.calls: list[str] = []

    def prepare_data(self) -> None:
        self.calls.append("prepare")

    def setup(self, stage: str) -> None:
        assert stage in ("fit", "test")
        assert self.trainer is not None
        assert self.trainer.lightning_module is not None
        self.calls.append(stage)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        assert self.trainer is not None
        batch.inputs = batch.inputs + (0.01 if self.trainer.training else 0)
        return batch

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        batch.inputs, batch.targets = batch.inputs.to(device), batch.targets.to(device)
        return batch

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch.inputs, batch.targets

    def teardown(self, stage: str) -> None:
        assert self.calls[0] == "prepare"

    def state_dict(self) -> dict[str, Any]:
        return {"calls": len(self.calls)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        assert state_dict["calls"] >= 2


class OfEpoch(Dataset[Any]):
    """Other samples in each epoch, which it has to be told."""

    epoch: int | None = None

    def __len__(self) -> int:
        return TRAIN

    def __getitem__(self, i: int) -> Any:
        assert self.epoch is not None
        return samples(TRAIN, seed=self.epoch)[i]


class CurriculumData(PlainData):
    class_weights = (1.0, 2.0, 1.0)

    def train_dataloader(self) -> Any:
        return DataLoader(OfEpoch(), BATCH, shuffle=True)


class Curriculum(Classifier):
    """Tells the dataset the epoch; a buffer that `setup` takes from the datamodule."""

    def setup(self, stage: str) -> None:
        datamodule: Any = self.trainer.datamodule
        self.register_buffer("weights", torch.tensor(datamodule.class_weights))

    def on_train_epoch_start(self) -> None:
        self.trainer.train_dataloader.dataset.epoch = self.current_epoch

    def loss(self, batch: Any) -> Tensor:
        return F.cross_entropy(self.net(batch[0]), batch[1], weight=self.weights)


class SequentialData(PlainData):
    def val_dataloader(self) -> Any:
        loaders = {"a": self.loader(EVAL), "b": self.loader(BATCH)}
        return CombinedLoader(loaders, "sequential")


class OfSequential(Classifier):
    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.log("val_loss", self.loss(batch))


class FoldData(L.LightningDataModule):
    """One fold of several, and a part of it that is kept back."""

    def __init__(self, fold: int = 0, num_folds: int = 3) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)

    def setup(self, stage: str | None = None) -> None:
        items = samples(TRAIN + 12)
        folds = list(KFold(self.hparams.num_folds, shuffle=True, random_state=1).split(items))
        train, val = folds[self.hparams.fold]
        generator = torch.Generator().manual_seed(42)
        self.train, _ = random_split(Subset(items, train.tolist()), [0.9, 0.1], generator)
        self.val = Subset(items, val.tolist())

    def train_dataloader(self) -> Any:
        generator = torch.Generator().manual_seed(1)
        return DataLoader(self.train, BATCH, shuffle=True, drop_last=True, generator=generator)

    def val_dataloader(self) -> Any:
        return DataLoader(self.val, BATCH)

    test_dataloader = val_dataloader
