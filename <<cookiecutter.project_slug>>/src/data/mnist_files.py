"""MNIST's four files: are they there, are they whole, where to get them, and what is in them."""

import hashlib
import math
import socket
import struct
import threading
import urllib.error
import urllib.request
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import MNIST

CONNECT_SECONDS = 6  # how long the first run of an offline machine waits
STALL_SECONDS = 15  # without a byte, then a download counts as failed

MD5 = {  # of the files, uncompressed
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
MNIST_LENGTHS = {"train": 60_000, "t10k": 10_000}


def folder(data_dir: Path) -> Path:
    """Return where torchvision looks for the files."""
    return data_dir / "MNIST" / "raw"


def exist(data_dir: Path) -> bool:
    """Say whether all four files are there."""
    return all((folder(data_dir) / name).exists() for name in MD5)


def stamp(data_dir: Path) -> tuple[int, ...]:
    """Return numbers that change when a file does: when it was written, and how long it is."""
    facts = [(folder(data_dir) / name).stat() for name in MD5]
    return tuple(number for fact in facts for number in (fact.st_mtime_ns, fact.st_size))


def check(data_dir: Path) -> None:
    """Check each file against its own header and, if it claims to be all of MNIST, its MD5.

    Raises:
        ValueError: naming the first file that is not what it should be.
    """
    _check_once(data_dir, stamp(data_dir))


@lru_cache(maxsize=1)  # `fit`, `test` and the next job of a sweep ask again; an error is not kept
def _check_once(data_dir: Path, stamp: tuple[int, ...]) -> None:
    for name, md5 in MD5.items():
        path = folder(data_dir) / name
        shape = idx_shape(path)
        if shape is None or path.stat().st_size != _header_size(shape) + math.prod(shape):
            problem = "is truncated, or no IDX file"
        elif (
            shape[0] == MNIST_LENGTHS[name.split("-")[0]]
            and hashlib.md5(path.read_bytes()).hexdigest() != md5
        ):
            problem = f"is not MNIST's: its MD5 checksum is not {md5}"
        else:
            continue
        raise ValueError(f"{path} {problem}. Delete it and run again to download it anew.")


def idx_shape(path: Path) -> tuple[int, ...] | None:
    """Return the shape in the header of a uint8 IDX file, or None if there is none.

    The header: two zero bytes, 8 for uint8, the number of dimensions, and each dimension's
    length as a big-endian int32.
    """
    with path.open("rb") as file:
        header = file.read(4 + 4 * 255)
    if len(header) < 4 or header[:3] != b"\0\0\x08" or len(header) < 4 + 4 * header[3]:
        return None
    return struct.unpack_from(f">{header[3]}i", header, 4)


def _header_size(shape: tuple[int, ...]) -> int:
    return 4 + 4 * len(shape)


def read(data_dir: Path, train: bool) -> tuple[Tensor, Tensor]:
    """Return images, uint8 `(N, 1, 28, 28)`, and labels, int64 `(N,)`; `check` comes first.

    The images are mapped: a start does not read them, and all processes share one copy.
    """
    images, labels = (
        _mapped(folder(data_dir) / name)
        for name in MD5
        if name.startswith("train") == train  # the images' file comes before the labels'
    )
    return images.unsqueeze(1), labels.long()


def _mapped(path: Path) -> Tensor:
    shape = idx_shape(path)
    assert shape is not None
    # "c": what somebody writes into the tensor stays in memory.
    return torch.from_numpy(np.memmap(path, np.uint8, "c", _header_size(shape), shape))


def download(data_dir: Path) -> None:
    """Download the files with torchvision, which checks the MD5 of each archive.

    Raises:
        OSError: where no mirror answers within `CONNECT_SECONDS`.
        RuntimeError: where no mirror has the file, or an archive fails its checksum.
    """
    if not all((folder(data_dir) / f"{name}.gz").exists() for name in MD5):
        wait_for_mirror()
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(STALL_SECONDS)  # torchvision sets none
    try:
        MNIST(str(data_dir), download=True)
    finally:
        socket.setdefaulttimeout(timeout)


def wait_for_mirror() -> None:
    """Return once a mirror answers; raise OSError if none does within `CONNECT_SECONDS`.

    In a thread, since looking up a host's name knows no time limit.
    """
    answered = threading.Event()

    def ask() -> None:
        for url in MNIST.mirrors:
            try:
                urllib.request.urlopen(url, timeout=CONNECT_SECONDS / len(MNIST.mirrors)).close()
            except urllib.error.HTTPError:
                pass  # an answer too
            except OSError:
                continue
            answered.set()
            return

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if not answered.is_set():
        raise OSError(f"no mirror answers within {CONNECT_SECONDS} s")
