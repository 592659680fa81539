"""Images in one tensor: fetched and normalised a whole batch at a time."""

from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset

from src.data.image_files import UnlabelledImages
from src.data.split_datamodule import SplitDataModule

Batch = tuple[Tensor, Tensor]


class InMemoryImages(Dataset[Batch]):
    """Labelled images as two tensors.

    A `DataLoader` asks a dataset that has `__getitems__` for all images of a batch in one call:
    one tensor operation takes the place of a Python call for each image.

    Args:
        images: uint8 `(N, C, H, W)`, in memory or mapped from a file.
        labels: int64 `(N,)`.
        mean: of each channel, for pixel values in `[0, 1]`.
        std: of each channel, likewise.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        if len(images) != len(labels):
            raise ValueError(f"{len(images)} images but {len(labels)} labels.")
        self._images = images
        self._labels = labels
        self.rows = torch.arange(len(labels))  # those of this set
        self.mean = torch.tensor(mean).view(-1, 1, 1) * 255
        self.std = torch.tensor(std).view(-1, 1, 1) * 255

    @property
    def images(self) -> Tensor:
        """A copy of the images of this set, uint8 `(N, C, H, W)`."""
        return self._images[self.rows]

    @property
    def labels(self) -> Tensor:
        """Their labels, int64 `(N,)`."""
        return self._labels[self.rows]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.rows)

    def __getitem__(self, index: int) -> Batch:
        """Return one image, float32 `(C, H, W)`, and its label, int64 `()`."""
        images, labels = self.__getitems__([index])
        return images[0], labels[0]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a batch: images, float32 `(B, C, H, W)`, normalised, and labels, int64 `(B,)`."""
        rows = self.rows.index_select(0, torch.as_tensor(indices))
        images = self._images.index_select(0, rows)  # as uint8: a quarter of the bytes to gather
        return images.float().sub_(self.mean).div_(self.std), self._labels.index_select(0, rows)

    def subset(self, rows: Tensor) -> "InMemoryImages":
        """Return the images of `rows` of this set; all subsets share the pixels."""
        part = copy(self)
        part.rows = self.rows[rows]
        return part


def as_fetched(batch: Any) -> Batch:
    """Collate nothing: `__getitems__` returned a batch already."""
    return batch


class InMemoryDataModule(SplitDataModule):
    """Dataloaders over `InMemoryImages`, which `setup` of a subclass fills in.

    Args:
        batch_size: images a step, on each device.
        num_workers: processes that fetch; 0 is fastest for what is in memory.
        loader: further arguments of the DataLoader, over the defaults of `src/data/loading.py`.
        eval_batch_size: images a step of validation and test; None takes `batch_size`.
    """

    class_names: Sequence[str]
    image_shape: tuple[int, int, int]  # channels (1 or 3), height, width
    mean: Sequence[float]
    std: Sequence[float]

    def __init__(
        self,
        batch_size: int = 64,
        num_workers: int = 0,
        loader: Mapping[str, Any] | None = None,
        eval_batch_size: int | None = None,
    ) -> None:
        super().__init__(batch_size, num_workers, loader, as_fetched, eval_batch_size)

    def predict_dataset(self, paths: Sequence[Path]) -> Dataset[Tensor]:
        """Return image files as the model takes them; needs no `setup`."""
        return UnlabelledImages(paths, self._from_file)

    def _from_file(self, image: Image.Image) -> Tensor:
        channels, height, width = self.image_shape
        fitted = ImageOps.fit(image, (width, height)).convert("L" if channels == 1 else "RGB")
        pixels = torch.from_numpy(np.array(fitted)).view(1, height, width, channels)
        one = InMemoryImages(pixels.movedim(-1, 1), torch.zeros(1), self.mean, self.std)
        return one[0][0]
