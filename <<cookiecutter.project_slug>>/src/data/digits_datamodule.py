"""The 1,797 handwritten digits that come with scikit-learn: real images, no download.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from src.data.in_memory import InMemoryDataModule, InMemoryImages

MEAN, STD = (0.3086,), (0.3461,)  # of the resized training images, pixels in [0, 1]
VAL_SIZE, TEST_SIZE = 250, 250


def load_digits() -> tuple[Tensor, Tensor]:
    """Return the digits at MNIST's size: uint8 `(1797, 1, 28, 28)` and int64 `(1797,)`."""
    from sklearn import datasets

    images, labels = datasets.load_digits(return_X_y=True)
    pixels = torch.from_numpy(images).view(-1, 1, 8, 8) * (255 / 16)
    pixels = interpolate(pixels, size=28, mode="bilinear").round().to(torch.uint8)
    return pixels, torch.from_numpy(labels).long()


def split_digits(
    mean: Sequence[float] = MEAN, std: Sequence[float] = STD
) -> tuple[InMemoryImages, InMemoryImages, InMemoryImages]:
    """Return train, validation and test sets: 1,297, 250 and 250 images, the same every time."""
    images, labels = load_digits()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(42))
    sizes = [len(images) - VAL_SIZE - TEST_SIZE, VAL_SIZE, TEST_SIZE]
    train, val, test = (
        InMemoryImages(images[rows], labels[rows], mean, std) for rows in order.split(sizes)
    )
    return train, val, test


class DigitsDataModule(InMemoryDataModule):
    """The embedded digits, as a dataset of its own: `data=digits`."""

    class_names = tuple("0123456789")
    image_shape = (1, 28, 28)
    mean, std = MEAN, STD

    def setup(self, stage: str | None = None) -> None:
        """Load and split the images once."""
        if self.data_train is None:
            self.data_train, self.data_val, self.data_test = split_digits()
