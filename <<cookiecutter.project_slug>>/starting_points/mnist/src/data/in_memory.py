"""Images in one tensor, from which a whole batch is fetched at once."""

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
        device: where both are kept; None leaves them where they are.
    """

    def __init__(self, images: Tensor, labels: Tensor, device: str | None = None) -> None:
        self.images, self.labels = images.to(device), labels.to(device)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> Batch:
        """Return an image, uint8 `(C, H, W)`, and its label, int64 `()`."""
        return self.images[index], self.labels[index]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Return a batch: images, uint8 `(B, C, H, W)`, and labels, int64 `(B,)`."""
        rows = torch.as_tensor(indices, device=self.labels.device)
        return self.images.index_select(0, rows), self.labels.index_select(0, rows)


def as_batch(batch: Batch) -> Batch:
    """Return what `__getitems__` returned, which is a batch already."""
    return batch
