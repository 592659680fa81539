"""`_target_` nodes become objects, if `src/targets.py` allows them."""

from collections.abc import Iterator
from typing import Any

from hydra import utils
from omegaconf import DictConfig, ListConfig, OmegaConf

from src.runtime import hydra_versions
from src.targets import ALLOWED


def instantiate(node: DictConfig, **kwargs: Any) -> Any:
    """Call the `_target_` of a node, and of the nodes in it, with what the node says.

    OmegaConf's containers become plain lists and dicts: they may end up in a checkpoint.

    Raises:
        ValueError: if a target is not allowed.
        hydra.errors.InstantiationException: if the call fails.
    """
    for key, inner in nodes(node):
        check_allowed(str(inner["_target_"]), key)
    return utils.instantiate(node, _convert_="all", **hydra_versions.INSTANTIATE, **kwargs)


def nodes(config: Any, key: str = "") -> Iterator[tuple[str, DictConfig]]:
    """Yield each node with a `_target_` and its dotted key, outer ones first."""
    if isinstance(config, DictConfig):
        if OmegaConf.is_missing(config, "_target_") or config.get("_target_") is not None:
            yield key, config
        children: list[Any] = list(config)
    elif isinstance(config, ListConfig):
        children = list(range(len(config)))
    else:
        return
    for child in children:
        if OmegaConf.is_config(config._get_node(child)) or OmegaConf.is_interpolation(
            config, child
        ):
            yield from nodes(config[child], f"{key}.{child}" if key else str(child))


def check_allowed(target: str, key: str) -> None:
    """Raise ValueError if a target is none of those in `src/targets.py`."""
    if not any(target == name or target.startswith(name.removesuffix("*")) for name in ALLOWED):
        raise ValueError(
            f"{key}._target_={target} is not allowed to be called from a configuration. "
            "If you trust it, add it to ALLOWED in src/targets.py"
        )
