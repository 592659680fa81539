"""The configuration in a checkpoint as a base for Hydra to compose on."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf, open_dict

from src.runtime.checkpoint import checkpoint_paths
from src.runtime.identity import PROJECT_ROOT

PARTS = ("data", "model")

# Lightning misses the callbacks of the training, which has ended: only a resumed one needs them.
warnings.filterwarnings("ignore", "Be aware that when using `ckpt_path`")


def arguments(given: Sequence[str]) -> list[str]:
    """Store data, model and precision of the checkpoint that is named as `checkpoint/config`.

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
    """Return `cfg` with the file, the data, model and precision of its checkpoint filled in.

    What it has of its own stays.
    """
    cfg = cfg.copy()
    cfg.ckpt_path = str(checkpoint_paths.find(cfg.ckpt_path, cfg.paths.log_dir))
    if all(cfg.get(part) for part in PARTS):
        return cfg
    parts = OmegaConf.create(_parts(cfg.ckpt_path))
    with open_dict(cfg):
        for part in PARTS:
            cfg[part] = cfg.get(part) or parts[part]
        cfg.trainer = OmegaConf.merge(parts.get("trainer", {}), cfg.get("trainer") or {})
    return cfg


def _parts(path: str | Path) -> dict[str, Any]:
    from src.runtime.checkpoint import checkpoints

    config = checkpoints.load(path)[checkpoints.CONFIG_KEY]
    precision = {k: v for k, v in config.get("trainer", {}).items() if k == "precision"}
    return {part: config[part] for part in PARTS} | ({"trainer": precision} if precision else {})
