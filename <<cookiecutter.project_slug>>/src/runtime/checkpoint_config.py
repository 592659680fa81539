"""The configuration in a checkpoint as a base for Hydra to compose on."""

from collections.abc import Sequence
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf, open_dict

PARTS = ("data", "model")


def register(argv: Sequence[str]) -> None:
    """Store data and model of the checkpoint named in `argv` as the config `checkpoint/config`.

    So overrides apply on top of what the checkpoint was trained with, and `data=NAME` replaces
    its data altogether.
    """
    values = dict(argument.split("=", 1) for argument in argv if "=" in argument)
    path = values.get("ckpt_path", "").strip("'\"")
    if path:
        parts = {k: v for k, v in _parts(path).items() if k not in values}
        ConfigStore.instance().store(
            group="checkpoint", name="config", node=parts, package="_global_"
        )


def completed(cfg: DictConfig) -> DictConfig:
    """Return `cfg` with data and model of its checkpoint where it has none of its own."""
    missing = [part for part in PARTS if not cfg.get(part)]
    if missing:
        parts = _parts(cfg.ckpt_path)
        cfg = cfg.copy()
        with open_dict(cfg):
            for part in missing:
                cfg[part] = OmegaConf.create(parts[part])
    return cfg


def _parts(path: str) -> dict[str, Any]:
    from src.runtime import checkpoints

    config = checkpoints.load(path)[checkpoints.CONFIG_KEY]
    return {part: config[part] for part in PARTS}
