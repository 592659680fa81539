"""Fixtures: small configurations and trainers that write to a temporary folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from omegaconf import DictConfig

from src.runtime.overrides import compose

Compose = Callable[..., DictConfig]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Run small nets on one thread: more would only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for the data of all tests."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def composed(tmp_path: Path, data_dir: Path) -> Compose:
    """Return a function that composes a configuration without a tracker; its run is `run/`."""

    def compose_here(*overrides: str, config_name: str = "train") -> DictConfig:
        paths = (f"paths.log_dir={tmp_path}/logs", f"paths.data_dir={data_dir}")
        folder = f"paths.output_dir={tmp_path}/run"
        return compose(config_name, *paths, folder, "logger=none", *overrides)

    return compose_here


def quiet_trainer(**settings: Any) -> Trainer:
    """Return a trainer that trains an epoch on the CPU, and neither prints nor writes."""
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    defaults = {"accelerator": "cpu", "devices": 1, "max_epochs": 1} | dict.fromkeys(quiet, False)
    return Trainer(**(defaults | settings))
