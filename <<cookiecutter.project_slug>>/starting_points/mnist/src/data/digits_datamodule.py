"""scikit-learn's 1,797 handwritten digits: real images that need no download.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import Dataset, random_split
from torchvision.transforms import v2

from src.data.image_datamodule import ImageDataModule

VAL_SIZE = TEST_SIZE = 250

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


class DigitsDataModule(ImageDataModule):
    """1,297 images to train, 250 to validate and 250 to test, resized to 28x28 as in MNIST.

    Batches are images `(B, 1, 28, 28)` and labels, int64 `(B,)`. The images are uint8; `normalize`
    makes them float32 on the device.

    Args:
        batch_size: images per step, on each device.
        num_workers: processes that load the data; 0 is fastest for data in memory.
        loader: further arguments of the `DataLoader`.
        eval_batch_size: images per step of validation and test; None takes `batch_size`.
        device: where the images are kept, such as cuda; None: in the host's memory.
    """

    class_names = tuple("0123456789")
    num_classes = 10
    in_channels = 1
    # Of the resized training images
    mean = (0.3086,)
    std = (0.3461,)

    def __init__(
        self,
        batch_size: int = 64,
        num_workers: int = 0,
        loader: Mapping[str, Any] | None = None,
        eval_batch_size: int | None = None,
        device: str | None = None,
    ) -> None:
        if device:
            loader = {"pin_memory": False, **(loader or {})}  # which is for the host's memory
        super().__init__(
            self.mean,
            self.std,
            batch_size=batch_size,
            num_workers=num_workers,
            loader=loader,
            collate=as_batch,
            eval_batch_size=eval_batch_size,
        )
        self.device = device

    def setup(self, stage: str | None = None) -> None:
        """Load and split the images once; the split does not depend on the seed of the run."""
        if self.data_train is not None:
            return
        from sklearn.datasets import load_digits  # takes a second; MNIST does not need it

        pixels, labels = load_digits(return_X_y=True)
        greys = torch.from_numpy(pixels) * (255 / 16)
        images = interpolate(greys.view(-1, 1, 8, 8), size=28, mode="bilinear")
        images = images.round().byte()
        classes = torch.from_numpy(labels).long()
        digits = InMemoryImages(images, classes, self.device)
        sizes = [len(digits) - VAL_SIZE - TEST_SIZE, VAL_SIZE, TEST_SIZE]
        generator = torch.Generator().manual_seed(42)
        self.data_train, self.data_val, self.data_test = random_split(digits, sizes, generator)

    def prediction_dataset(self, path: str) -> Dataset[Tensor]:
        """Return image files as the model takes them: grey, 28x28, normalised."""
        from src.data.image_files import ImagesToPredict  # decoders, which training does without

        exact = v2.ToDtype(torch.float32)  # a grey value is no integer
        resize = v2.Resize(28)
        crop = v2.CenterCrop(28)
        transform = v2.Compose([exact, v2.Grayscale(), resize, crop, self.normalize])
        return ImagesToPredict(path, transform)
