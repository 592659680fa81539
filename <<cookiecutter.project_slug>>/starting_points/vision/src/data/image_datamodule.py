"""Batches of images: uint8 until they are on the device, where they become normalised floats."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from src.data.split_datamodule import SplitDataModule

Transform = Callable[[Tensor], Tensor]


class NormalizeImages:
    """Convert uint8 images to normalised floats, on the device that they are on.

    Args:
        mean: of the channels, for pixel values in `[0, 1]`.
        std: standard deviation of the channels, for the same.
        channels_last: whether batches get this memory format; None: on CUDA, where convolutions
            in mixed precision are faster with it.
    """

    def __init__(
        self, mean: Sequence[float], std: Sequence[float], channels_last: bool | None = None
    ) -> None:
        self.mean = torch.tensor(mean).view(-1, 1, 1) * 255
        self.std = torch.tensor(std).view(-1, 1, 1) * 255
        self.channels_last = channels_last

    def __call__(self, images: Tensor) -> Tensor:
        """Return images `(..., C, H, W)` with values from 0 to 255 as normalised float32."""
        # Kept there: a copy in each step would wait for the device.
        self.mean, self.std = self.mean.to(images.device), self.std.to(images.device)
        normalised = images.sub(self.mean).div_(self.std)
        channels_last = images.is_cuda if self.channels_last is None else self.channels_last
        if channels_last and images.ndim == 4:
            return normalised.contiguous(memory_format=torch.channels_last)
        return normalised


class ImageDataModule(SplitDataModule):
    """Loaders of labelled images, whose batches are normalised on the device.

    Its loaders yield uint8 `(B, C, H, W)`, a fourth of the bytes of floats; models get floats.

    Args:
        mean: of the channels, for pixel values in `[0, 1]`.
        std: standard deviation of the channels, for the same.
        channels_last: memory format of the batches; None: channels_last on CUDA.
        batch_augmentation: applied on the device to training batches, uint8 `(B, C, H, W)`, such as
            a transform of `torchvision.transforms.v2`, which draws once for the whole batch.
        settings: of `SplitDataModule`.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        channels_last: bool | None = None,
        batch_augmentation: Transform | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.mean, self.std = tuple(mean), tuple(std)
        self.normalize = NormalizeImages(mean, std, channels_last)
        self.batch_augmentation = batch_augmentation

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Return the batch with its images as the model gets them."""
        images, labels = batch
        if self.trainer is None:
            return self.normalize(images), labels
        if self.batch_augmentation and self.trainer.training:
            images = self.batch_augmentation(images)
        # As Lightning does with batches of floats, such as to bfloat16 for precision=bf16-true.
        return self.trainer.precision_plugin.convert_input(self.normalize(images)), labels
