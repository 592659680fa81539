"""Read image files through DataLoaders, without training: three readers take turns.

python decode.py FOLDER [--workers 1] [--batch-size 16] [--size 224] [--rounds 5]

`ours` is the project's `read_image` with the transforms of its datamodule, `PIL` is ImageFolder's
loader with the same transforms. `PIL normalising` also makes normalised floats, as the workers of
PyTorch's ImageNet example do; the project does so with whole batches, on the device.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the project's commands do, before torch

from options import MEAN, STD
from stopwatch import Stopwatch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import default_loader

from src.data.image_files import read_image
from src.data.image_folder_datamodule import ResizeAndCrop

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("--size", type=int, default=224)
parser.add_argument("--workers", type=int, default=1)
parser.add_argument("--batch-size", type=int, default=16)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--accelerator", help="has no influence")
args = parser.parse_args()


def read(path: str) -> Tensor:
    """Return an image as the project reads it."""
    return read_image(Path(path))


def loader(of_file: Callable[[str], Any], *steps: Any) -> DataLoader[Any]:
    """Return a loader whose workers stay for all rounds."""
    return DataLoader(
        ImageFolder(f"{args.folder}/train", transforms.Compose(steps), loader=of_file),
        args.batch_size,
        num_workers=args.workers,
        persistent_workers=True,
        prefetch_factor=4,
    )


crop = (transforms.Resize(args.size), transforms.CenterCrop(args.size))
normalise = (transforms.ToTensor(), transforms.Normalize(MEAN, STD))
loaders = {
    "ours": loader(read, ResizeAndCrop(args.size)),
    "PIL": loader(default_loader, *crop, transforms.PILToTensor()),
    "PIL normalising": loader(default_loader, *crop, *normalise),
}
watch = Stopwatch()
for number in range(1 + args.rounds):  # the first round is not counted
    turns = list(loaders.items())
    for reader, batches in turns[number % 3 :] + turns[: number % 3]:
        watch.epoch_starts()
        for _ in batches:
            watch.step_ends()
        watch.training_ends()
        watch.epoch_ends(reader=reader, round=number)
