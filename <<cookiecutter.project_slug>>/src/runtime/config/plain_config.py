"""A configuration as plain data: fit for a checkpoint, a tracker, another machine."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError
from omegaconf.resolvers import oc

from src.runtime import hydra_versions


def to_plain(cfg: DictConfig) -> dict[str, Any]:
    """Return `cfg` as dicts, lists and scalars, resolved, but for what the environment says.

    Whatever comes from `${oc.env:...}`, directly or not, stays an interpolation: secrets are not
    written down, and paths mean those of the machine that reads them.
    """
    with _environment_hidden():
        return {str(key): _value(cfg, key) for key in cfg}


def as_typed(overrides: Any) -> list[str]:
    """Return a list of overrides as typed: `${oc.env:KEY}` in one is not what KEY says."""
    typed: Any = OmegaConf.to_container(overrides, resolve=False)
    return [str(override) for override in typed]


def flatten(plain: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested dicts as one, with keys joined by dots: `{"data.batch_size": 64}`."""
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _value(node: DictConfig | ListConfig, key: Any) -> Any:
    try:
        value = node[key]
    except InterpolationResolutionError:
        raw: Any = OmegaConf.to_container(node, resolve=False)
        return raw[key]
    if isinstance(value, DictConfig):
        return {str(k): _value(value, k) for k in value}
    if isinstance(value, ListConfig):
        return [_value(value, i) for i in range(len(value))]
    return value


@contextmanager
def _environment_hidden() -> Generator[None]:
    def refuse(*_: str) -> None:
        raise LookupError("hidden")

    hydra_versions.register_resolver("oc.env", refuse, replace=True)
    try:
        yield
    finally:
        hydra_versions.register_resolver("oc.env", oc.env, replace=True)
