"""The types of the configuration's own keys: a wrong value fails while Hydra composes.

Every field is MISSING: the values stand in `configs/`, this says what they may be. Both classes
take further keys, since a project has keys of its own.
"""

from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING


@dataclass
class Paths(dict[str, Any]):
    """Folders; `output_dir` is the run's own."""

    root_dir: str = MISSING
    data_dir: str = MISSING
    log_dir: str = MISSING
    output_dir: str = MISSING


@dataclass
class Config(dict[str, Any]):
    """The top level."""

    task_name: str = MISSING
    tags: list[str] = MISSING
    seed: int | None = MISSING
    ckpt_path: str | None = MISSING
    paths: Paths = MISSING


def register() -> None:
    """Store the schema where `configs/common/config_base.yaml` looks for it."""
    ConfigStore.instance().store(group="schema", name="base", node=Config)
