"""MNIST where it is, else random images of the same size; generated image files."""

import os
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = 10
FILES = {"train": ("images-idx3", "labels-idx1"), "t10k": ("images-idx3", "labels-idx1")}


def find_or_make(data_dir: Path, scratch: Path) -> tuple[Path, str]:
    """Return a data folder and what is in it: `MNIST`, or synthetic images."""
    if all((data_dir / f"MNIST/raw/{n}-{f}-ubyte").exists() for n, fs in FILES.items() for f in fs):
        return data_dir, "MNIST"
    # One image less than MNIST has: the project knows the real files by their checksums.
    return synthetic(scratch / "data", 59_999), "59,999 synthetic images of MNIST's size"


def synthetic(data_dir: Path, size: int) -> Path:
    """Write `size` random training images, and a sixth as many to test, as MNIST's four files."""
    raw = data_dir / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for name, count in (("train", size), ("t10k", size // 6)):
        _write(raw / f"{name}-labels-idx1-ubyte", random.integers(0, 10, count, dtype=np.uint8))
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        _write(raw / f"{name}-images-idx3-ubyte", images)
    return data_dir


def _write(path: Path, array: np.ndarray) -> None:
    shape = np.array(array.shape, dtype=">i4").tobytes()
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + shape + array.tobytes())


@dataclass
class ImageFiles:
    """Generated image files: `FOLDER/train/CLASS/NUMBER.SUFFIX`, and some in `FOLDER/val`."""

    count: int
    width: int
    height: int
    suffix: str = "jpg"

    def __str__(self) -> str:
        """Say what they are."""
        return f"{self.count:,} {self.suffix.upper()} of {self.width}x{self.height}"

    def make(self, cache: Path, validation: int = 0) -> Path:
        """Return their folder in `cache`; all cores write them at the first call."""
        folder = cache / f"{self.suffix}_{self.width}x{self.height}_{self.count}"
        for part, count in (("train", self.count), ("val", validation)):
            complete = folder / f"{part}_{count}"
            if count and not complete.exists():
                for label in range(CLASSES):
                    (folder / part / str(label)).mkdir(parents=True, exist_ok=True)
                with Pool(os.cpu_count()) as pool:
                    pool.map(partial(self.write, folder / part), range(count), chunksize=4)
                complete.touch()
        return folder

    def write(self, folder: Path, number: int) -> None:
        """Write one: smooth colours and noise, which take as many bytes as a photograph."""
        random = np.random.default_rng(number)
        colours = random.integers(
            0, 256, (self.height // 16 + 1, self.width // 16 + 1, 3), np.uint8
        )
        smooth = Image.fromarray(colours).resize(
            (self.width, self.height), Image.Resampling.BICUBIC
        )
        noise = random.integers(-14, 15, (self.height, self.width, 3), np.int16)
        pixels = np.clip(np.asarray(smooth) + noise, 0, 255).astype(np.uint8)
        path = folder / str(number % CLASSES) / f"{number}.{self.suffix}"
        Image.fromarray(pixels).save(path, quality=90)


class DigitFiles(ImageFiles):
    """scikit-learn's 1,797 digits as PNG files, of which the last 128 validate."""

    def __init__(self) -> None:
        super().__init__(1797 - 128, 8, 8, "png")

    def __str__(self) -> str:
        """Say what they are."""
        return "digits, " + super().__str__()

    def make(self, cache: Path, validation: int = 0) -> Path:
        """Return their folder in `cache`."""
        from sklearn.datasets import load_digits

        folder = cache / "digits"
        images, labels = load_digits(return_X_y=True)
        for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
            part = "train" if number < self.count else "val"
            path = folder / part / str(label) / f"{number}.png"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                greys = pixels.reshape(8, 8) * 255 / 16
                Image.fromarray(greys.astype(np.uint8)).save(path)
        return folder
