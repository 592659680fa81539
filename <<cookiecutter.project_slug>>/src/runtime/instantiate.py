"""`_target_` nodes become objects, if `src/targets.py` allows them."""

from collections.abc import Iterable, Iterator
from typing import Any

from hydra import utils
from omegaconf import DictConfig, OmegaConf

from src.runtime import hydra_versions
from src.targets import ALLOWED


def instantiate(node: DictConfig, **kwargs: Any) -> Any:
    """Call the `_target_` of a node, and of the nodes in it, with what the node says.

    OmegaConf's containers become plain lists and dicts: they may end up in a checkpoint.

    Raises:
        ValueError: if a target is not allowed.
        hydra.errors.InstantiationException: if the call fails.
    """
    for key, inner in nodes(OmegaConf.to_container(node, resolve=True)):
        check_allowed(str(inner["_target_"]), key)
    return utils.instantiate(node, _convert_="all", **hydra_versions.INSTANTIATE, **kwargs)


def nodes(content: Any, key: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each node of plain data with a `_target_` and its dotted key, outer ones first."""
    if isinstance(content, dict):
        if content.get("_target_") is not None:
            yield key, content
        children: Iterable[tuple[Any, Any]] = content.items()
    elif isinstance(content, list):
        children = enumerate(content)
    else:
        return
    for name, child in children:
        yield from nodes(child, f"{key}.{name}" if key else str(name))


def check_allowed(target: str, key: str) -> None:
    """Raise ValueError if a target is none of those in `src/targets.py`."""
    if not any(target == name or target.startswith(name.removesuffix("*")) for name in ALLOWED):
        raise ValueError(
            f"{key}._target_={target} is not allowed to be called from a configuration. "
            "If you trust it, add it to ALLOWED in src/targets.py"
        )
