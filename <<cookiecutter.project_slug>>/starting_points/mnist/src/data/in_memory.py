"""Images in one tensor, from which a whole batch is fetched and normalised at once."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

Batch = tuple[Tensor, Tensor]


class InMemoryImages(Dataset[Batch]):
    """Labelled images as two tensors.

    A `DataLoader` calls `__getitems__` once per batch: one tensor operation replaces a Python call
    per image.

    Args:
        images: uint8 `(N, C, H, W)`.
        labels: int64 `(N,)`.
        mean: of each channel, for pixel values in `[0, 1]`.
        std: standard deviation of each channel, for the same.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        self.images, self.labels = images, labels
        self.mean = torch.tensor(mean).view(-1, 1, 1) * 255
        self.std = torch.tensor(std).view(-1, 1, 1) * 255

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        """Return an image, float32 `(C, H, W)`, and its label, int64 `()`."""
        images, labels = self.__getitems__([index])
        return images[0], labels[0]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a batch: images, float32 `(B, C, H, W)`, and labels, int64 `(B,)`."""
        rows = torch.as_tensor(indices)
        images = self.images.index_select(0, rows).float().sub_(self.mean).div_(self.std)
        return images, self.labels.index_select(0, rows)


def as_batch(batch: Batch) -> Batch:
    """Return what `__getitems__` returned, which is a batch already."""
    return batch
