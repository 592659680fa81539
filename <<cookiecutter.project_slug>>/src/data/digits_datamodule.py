"""The 1,797 handwritten digits that come with scikit-learn: real images, no download.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from src.data.folds import split
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
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
    fold: int | None = None,
    num_folds: int = 5,
) -> tuple[InMemoryImages, InMemoryImages, InMemoryImages]:
    """Return train, validation and test sets: 1,297, 250 and 250 images, the same every time.

    Args:
        mean: of the channel, for pixel values in `[0, 1]`.
        std: of the channel, likewise.
        fold: validate on this of `num_folds` parts of the training and validation images instead.
        num_folds: number of parts.
    """
    digits = InMemoryImages(*load_digits(), mean, std)
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(42))
    train, val = split(order[:-TEST_SIZE], VAL_SIZE, fold, num_folds)
    return digits.subset(train), digits.subset(val), digits.subset(order[-TEST_SIZE:])


class DigitsDataModule(InMemoryDataModule):
    """The embedded digits, as a dataset of its own: `data=digits`.

    Args:
        batch_size: images a step, on each device.
        fold: validate on this part of `num_folds` instead, counted from 0, and train on the others.
        num_folds: parts of the training images.
        num_workers: processes that fetch; 0 is fastest for what is in memory.
    """

    class_names = tuple("0123456789")
    image_shape = (1, 28, 28)
    mean, std = MEAN, STD

    def __init__(
        self,
        batch_size: int = 64,
        fold: int | None = None,
        num_folds: int = 5,
        num_workers: int = 0,
    ) -> None:
        super().__init__(batch_size, num_workers)
        self.fold, self.num_folds = fold, num_folds

    def setup(self, stage: str | None = None) -> None:
        """Load and split the images once."""
        if self.data_train is None:
            self.data_train, self.data_val, self.data_test = split_digits(
                fold=self.fold, num_folds=self.num_folds
            )
