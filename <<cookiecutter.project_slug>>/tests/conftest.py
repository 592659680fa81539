"""What the tests share: small MNIST files, and configurations that train in a second."""

import atexit
import gc
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from src.runtime import hydra_versions
from src.runtime.identity import PROJECT_ROOT

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for nets as small as these, more only wait

SIZES = {"train": 320, "t10k": 64}
SMALL = ("data.val_size=64", "common/logger@logger=none", "trainer.max_epochs=1")

Compose = Callable[..., DictConfig]


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write a uint8 array as an IDX file, MNIST's format."""
    header = struct.pack(f">BBBB{array.ndim}i", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.fixture(scope="session")
def mnist_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data folder with small MNIST files."""
    return write_small_mnist(tmp_path_factory.mktemp("data"))


def write_small_mnist(data_dir: Path) -> Path:
    """Write small MNIST files to a data folder: each digit is a bar at its own height."""
    raw = data_dir / "MNIST" / "raw"
    raw.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, size in SIZES.items():
        labels = np.arange(size, dtype=np.uint8) % 10
        images = random.integers(0, 60, (size, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label + 4 : 2 * label + 6, 4:24] = 255
        write_idx(raw / f"{name}-images-idx3-ubyte", images)
        write_idx(raw / f"{name}-labels-idx1-ubyte", labels)
    return data_dir


def pytest_collection_finish() -> None:
    """What was imported is no garbage: to look through it again and again takes a sixth longer."""
    gc.freeze()
    atexit.register(gc.unfreeze)


@pytest.fixture(autouse=True)
def no_hydra_left_over() -> None:
    """Begin each test as a fresh process does: no configuration of Hydra's own is set."""
    HydraConfig.instance().cfg = None


@pytest.fixture
def composed(tmp_path: Path, mnist_dir: Path) -> Compose:
    """Return a function that composes a configuration: small data, CPU, output in `tmp_path`."""

    def compose_small(*overrides: str, config_name: str = "train") -> DictConfig:
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(PROJECT_ROOT / "configs"), **hydra_versions.INITIALIZE):
            return compose(
                config_name,
                overrides=[
                    f"paths.output_dir={tmp_path}",
                    f"paths.log_dir={tmp_path}",
                    f"paths.data_dir={mnist_dir}",
                    "trainer.accelerator=cpu",
                    *overrides,
                ],
            )

    return compose_small
