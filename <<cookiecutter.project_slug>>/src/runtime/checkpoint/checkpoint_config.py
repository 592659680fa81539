"""The configuration in a checkpoint as a base for Hydra to compose on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf, open_dict

from src.runtime.checkpoint import checkpoint_paths
from src.runtime.identity import PROJECT_ROOT

PARTS = ("data", "model")


def arguments(given: Sequence[str]) -> list[str]:
    """Store data and model of the checkpoint that is named as the config `checkpoint/config`.

    So overrides apply on top of what the checkpoint was trained with, and `data=NAME` replaces
    its data altogether. Return the command line with the path of that checkpoint in it.

    Raises:
        ValueError: if there is no such checkpoint, or it is no good.
    """
    values = dict(argument.split("=", 1) for argument in given if "=" in argument)
    value = values.get("ckpt_path", "").strip("'\"")
    if not value:
        return list(given)
    path = checkpoint_paths.find(value, values.get("paths.log_dir") or PROJECT_ROOT / "logs")
    parts = {k: v for k, v in _parts(path).items() if k not in values}
    ConfigStore.instance().store(group="checkpoint", name="config", node=parts, package="_global_")
    quoted = checkpoint_paths.quoted(path.resolve())
    return [f"ckpt_path={quoted}" if o.startswith("ckpt_path=") else o for o in given]


def completed(cfg: DictConfig) -> DictConfig:
    """Return `cfg` with the file, the data and the model of its checkpoint filled in.

    Data and model that it has of its own stay.
    """
    cfg = cfg.copy()
    cfg.ckpt_path = str(checkpoint_paths.find(cfg.ckpt_path, cfg.paths.log_dir))
    missing = [part for part in PARTS if not cfg.get(part)]
    if missing:
        parts = _parts(cfg.ckpt_path)
        with open_dict(cfg):
            for part in missing:
                cfg[part] = OmegaConf.create(parts[part])
    return cfg


def _parts(path: str | Path) -> dict[str, Any]:
    from src.runtime.checkpoint import checkpoints

    config = checkpoints.load(path)[checkpoints.CONFIG_KEY]
    return {part: config[part] for part in PARTS}
