"""DataModules as people write them, without knowledge of the template: odd batches and loaders."""

from collections import Counter, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities import CombinedLoader
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    WeightedRandomSampler,
)

FEATURES, CLASSES, TRAIN, EVAL, BATCH = 8, 3, 24, 16, 8


def samples(size: int, shape: tuple[int, ...] = (FEATURES,), seed: int = 0) -> list[Any]:
    """Return pairs of an input and one of three labels that can be learned from it."""
    x = torch.randn(size, *shape, generator=torch.Generator().manual_seed(seed))
    y = x.flatten(1)[:, :CLASSES].argmax(dim=1)
    return list(zip(x, y, strict=True))


class Samples(Dataset[Any]):
    """The same as a dataset of its own."""

    def __init__(self, size: int) -> None:
        self.items = samples(size)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class PlainData(L.LightningDataModule):
    """Tensors and labels; the others change what a batch is by `collate`."""

    shape: tuple[int, ...] = (FEATURES,)
    collate: Any = None

    def __init__(self, batch_size: int = BATCH, num_workers: int = 0) -> None:
        super().__init__()
        self.batch_size, self.num_workers = batch_size, num_workers

    def loader(self, size: int, shuffle: bool = False, **settings: Any) -> DataLoader[Any]:
        settings = {"batch_size": self.batch_size, "num_workers": self.num_workers} | settings
        collate = type(self).collate
        return DataLoader(
            samples(size, self.shape), shuffle=shuffle, collate_fn=collate, **settings
        )

    def train_dataloader(self) -> Any:
        return self.loader(TRAIN, shuffle=True)

    def val_dataloader(self) -> Any:
        return self.loader(EVAL)

    def test_dataloader(self) -> Any:
        return self.loader(EVAL)


class ImageData(PlainData):
    shape = (3, 8, 8)


class WorkerData(PlainData):
    def train_dataloader(self) -> Any:
        return self.loader(TRAIN, shuffle=True, num_workers=1, persistent_workers=True)


# --- batches -----------------------------------------------------------------------------------


def stacked(items: list[Any]) -> tuple[Tensor, Tensor]:
    return torch.stack([x for x, _ in items]), torch.stack([y for _, y in items])


def as_dict(items: list[Any]) -> dict[str, Any]:
    x, y = stacked(items)
    return {"x": x, "y": y, "names": [f"item {i}" for i in range(len(x))], "weight": None}


@dataclass
class Batch:
    x: Tensor
    y: Tensor
    mask: Tensor | None = None
    source: str = "train"


def as_dataclass(items: list[Any]) -> Batch:
    return Batch(*stacked(items))


class Graph:
    """A graph object as of a library: no tensor, but it can be moved."""

    def __init__(self, items: list[Any]) -> None:
        self.x, self.y = stacked(items)
        self.edges = torch.stack([torch.arange(len(self.x)), torch.arange(len(self.x)).flip(0)])
        self.num_graphs = len(self.x)

    def to(self, device: Any, **kwargs: Any) -> "Graph":
        self.x, self.y, self.edges = (t.to(device) for t in (self.x, self.y, self.edges))
        return self


Pair = namedtuple("Pair", ["x", "y"])


def as_named_tuple(items: list[Any]) -> Pair:
    return Pair(*stacked(items))


def as_nested(items: list[Any]) -> Any:
    x, y = stacked(items)
    return [{"views": (x, x.flip(1)), "meta": {"ids": [1, 2, 3]}}, {"target": [y, None]}]


def as_numbers(items: list[Any]) -> Any:
    """A sum and a count: no tensor has a batch dimension."""
    x, y = stacked(items)
    return {"x": x.mean(), "y": y.float().mean()}


def as_padded(items: list[Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Sequences of different lengths."""
    x, y = stacked(items)
    return x.unsqueeze(1).expand(-1, 5, -1), torch.arange(len(x)) % 5 + 1, y


class DictData(PlainData):
    collate = as_dict


class DataclassData(PlainData):
    collate = as_dataclass


class GraphData(PlainData):
    collate = Graph


class NamedTupleData(PlainData):
    collate = as_named_tuple


class NestedData(PlainData):
    collate = as_nested


class NumbersData(PlainData):
    collate = as_numbers


class PaddedData(PlainData):
    collate = as_padded


def without_labels(items: list[Any]) -> Tensor:
    return stacked(items)[0]


class UnlabelledData(PlainData):
    collate = without_labels


def ignored_labels(items: list[Any]) -> tuple[Tensor, Tensor]:
    x, y = stacked(items)
    return x, torch.where(torch.arange(len(y)) % 2 == 0, y, torch.full_like(y, -100))


class IgnoredLabels(ImageData):
    """Labels outside of the classes, which the loss ignores."""

    collate = ignored_labels


def segmentation(items: list[Any]) -> tuple[Tensor, Tensor]:
    x, _ = stacked(items)
    return x, (x[:, 0] > 0).long()


class SegmentationData(ImageData):
    """A label for each pixel."""

    collate = segmentation


class LateTransfer(PlainData):
    """Moves and augments batches itself."""

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        x, y = batch
        is_training = self.trainer is not None and self.trainer.training
        return (x + 0.01 * torch.randn_like(x) if is_training else x), y


# --- loaders -----------------------------------------------------------------------------------


class Endless(IterableDataset[Any]):
    """Without a length."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self) -> Iterator[Any]:
        yield from samples(self.size)


class IterableData(PlainData):
    def loader(self, size: int, shuffle: bool = False, **settings: Any) -> DataLoader[Any]:
        return DataLoader(Endless(size), batch_size=self.batch_size)


class OwnIterable:
    """No DataLoader: whatever can be iterated."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, self.size, BATCH):
            yield stacked(samples(self.size)[start : start + BATCH])


class OwnIterableData(PlainData):
    def loader(self, size: int, shuffle: bool = False, **settings: Any) -> Any:
        return OwnIterable(size)


class TwoValidationSets(PlainData):
    def val_dataloader(self) -> Any:
        return [self.loader(EVAL), self.loader(BATCH)]

    def test_dataloader(self) -> Any:
        return self.val_dataloader()


class NamedValidationSets(PlainData):
    def val_dataloader(self) -> Any:
        return {"clean": self.loader(EVAL), "noisy": self.loader(BATCH)}


class CombinedValidation(PlainData):
    def val_dataloader(self) -> Any:
        loaders = {"a": self.loader(EVAL), "b": self.loader(BATCH)}
        return CombinedLoader(loaders, "max_size_cycle")


class CombinedTraining(PlainData):
    def __init__(self, mode: str = "max_size_cycle") -> None:
        super().__init__()
        self.mode = mode

    def train_dataloader(self) -> Any:
        loaders = {"labelled": self.loader(EVAL, True), "unlabelled": self.loader(TRAIN, True)}
        return CombinedLoader(loaders, self.mode)


class DictOfLoaders(PlainData):
    def train_dataloader(self) -> Any:
        return {"labelled": self.loader(TRAIN, True), "unlabelled": self.loader(TRAIN, True)}


class ListOfLoaders(PlainData):
    def train_dataloader(self) -> Any:
        return [self.loader(TRAIN, True), self.loader(TRAIN, True)]


class GrowingData(PlainData):
    """Other loaders in each epoch: `trainer.reload_dataloaders_every_n_epochs=1`."""

    def train_dataloader(self) -> Any:
        assert self.trainer is not None
        return self.loader(BATCH * (2 + self.trainer.current_epoch), shuffle=True)


class NoValidation(L.LightningDataModule):
    def train_dataloader(self) -> Any:
        return PlainData().train_dataloader()


class EmptyListValidation(PlainData):
    def val_dataloader(self) -> Any:
        return []


class EmptyValidationSet(PlainData):
    def val_dataloader(self) -> Any:
        return DataLoader(samples(0), batch_size=BATCH)


class SamplerData(PlainData):
    def train_dataloader(self) -> Any:
        sampler = WeightedRandomSampler([1.0] * TRAIN, TRAIN)
        return self.loader(TRAIN, sampler=sampler)

    def val_dataloader(self) -> Any:
        sampler = BatchSampler(RandomSampler(range(EVAL)), BATCH, drop_last=False)
        return DataLoader(samples(EVAL), batch_sampler=sampler)


# --- life cycle --------------------------------------------------------------------------------


class HparamsData(PlainData):
    """`save_hyperparameters` with transforms, functions, paths and NumPy values."""

    def __init__(
        self,
        root: str = ".",
        transform: nn.Module | None = None,
        augment: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__()
        root, mean = Path(root), np.float64(0.5)  # type: ignore[assignment]
        split = np.array([0.8, 0.2])
        self.save_hyperparameters()
        self.hparams.update(root=root, mean=mean, split=split, scale=partial(max, 1))


class SetupData(PlainData):
    """Writes files in `prepare_data`, and knows its numbers only after `setup`."""

    def __init__(self, data_dir: str) -> None:
        super().__init__()
        self.data_dir = Path(data_dir)

    def prepare_data(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        torch.save(samples(TRAIN), self.data_dir / "samples.pt")

    def setup(self, stage: str) -> None:
        self.items = torch.load(self.data_dir / "samples.pt")
        self.num_features = len(self.items[0][0])
        self.class_names = ["low", "middle", "high"]

    def teardown(self, stage: str) -> None:
        del self.items

    def train_dataloader(self) -> Any:
        return DataLoader(self.items, batch_size=self.batch_size, shuffle=True)


class FittedData(PlainData):
    """A state that is fitted on the training data, with what is no plain data in it."""

    vocabulary: Any = None

    def setup(self, stage: str) -> None:
        if self.vocabulary is None:
            self.vocabulary = Counter("abracadabra")

    def state_dict(self) -> dict[str, Any]:
        mean = np.zeros(FEATURES, dtype=np.float32)
        seen = {"a", "b"}
        return {"vocabulary": self.vocabulary, "mean": mean, "seen": seen, "split": Path("a.txt")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.vocabulary = Counter(state_dict["vocabulary"])
        assert self.vocabulary["a"] == 5
        assert np.allclose(state_dict["mean"], 0)
        assert set(state_dict["seen"]) == {"a", "b"}


class SizedData(PlainData):
    """Knows after `__init__` what a model's `???` ask for."""

    num_features, num_classes = FEATURES, CLASSES


class KnowsNothing(Dataset[Any]):
    """Neither a length that is right nor tensors."""

    def __len__(self) -> int:
        return TRAIN

    def __getitem__(self, index: int) -> Any:
        return {"text": "a b c", "number": np.float32(index), "maybe": None}


class TextData(L.LightningDataModule):
    """Lists of strings: not one tensor in the batch."""

    def train_dataloader(self) -> Any:
        return DataLoader(KnowsNothing(), batch_size=BATCH, collate_fn=list)

    val_dataloader = test_dataloader = train_dataloader
