"""MNIST where it is, else random images of the same size."""

from pathlib import Path

import numpy as np

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
