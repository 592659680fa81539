"""Mistakes that can be known from the configuration alone, before anything is built or read."""

from collections.abc import Iterator
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.runtime.config import errors, logged_metrics, schema, signatures
from src.runtime.instantiate import check_allowed, nodes

PARTS = ("data", "model", "trainer", "callbacks", "logger")
LARGEST_SEED = 2**32 - 1  # NumPy's
# What `build` gives to the trainer by itself.
GIVEN = {"trainer": frozenset({"callbacks", "logger"})}


def check_config(cfg: DictConfig) -> None:
    """Check a composed configuration against the code that it calls.

    Raises:
        ValueError: with the first fault.
    """
    for key in missing_keys(OmegaConf.to_container(cfg)):
        raise ValueError(f"{key} has no value (???). Set it: {key}=VALUE")
    for fault in faults(cfg):
        raise ValueError(fault)


def faults(cfg: DictConfig) -> Iterator[str]:
    """Yield a sentence for each fault of a composed configuration, `???` apart."""
    for key in map(str, cfg):
        try:
            cfg.get(key)
        except OmegaConfBaseException as error:
            yield errors.unresolved(error, key)
            return
    seed = cfg.get("seed")
    if isinstance(seed, int) and not 0 <= seed <= LARGEST_SEED:
        yield f"seed={seed} is not between 0 and {LARGEST_SEED}. Set another: seed=0"
    if cfg.get("model") is not None and cfg.get("trainer") is None:
        yield "trainer is missing, and a model needs one: leave out trainer=null, or ~trainer"
    called: dict[str, dict[str, Any]] = {}
    for group in PARTS:
        part = cfg.get(group)
        if isinstance(part, str):
            yield f"{group}: {part} is a word where a node belongs. Choose a file of its group"
            continue
        is_config = OmegaConf.is_config(part)
        try:
            plain: Any = OmegaConf.to_container(part, resolve=True) if is_config else part
        except OmegaConfBaseException as error:
            yield errors.unresolved(error)
            continue
        called |= nodes(plain, group)
        if group in ("data", "model", "trainer"):
            if plain is not None and group not in called:
                yield f"{group} has no _target_: choose a file of configs/{group}/"
        elif isinstance(plain, dict):
            for name, value in plain.items():
                key = f"{group}.{name}"
                if value not in (None, MISSING) and key not in called:
                    yield f"{key}={value} is no node with a _target_. Remove it: ~{key}"
    for key, values in schema.allowed():
        value = OmegaConf.select(cfg, key)
        if value is not None and value not in values:
            near = signatures.did_you_mean(str(value), values)
            yield f"{key}={value} is none of {', '.join(values)}{near}. Set {key}=VALUE"
    for key, node in called.items():
        yield from _call_faults(key, node)
    yield from _metric_faults(cfg)


def missing_keys(content: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys that are `???`."""
    for key, value in content.items():
        if value == MISSING:
            yield f"{prefix}{key}"
        elif isinstance(value, dict):
            yield from missing_keys(value, f"{prefix}{key}.")


def _call_faults(key: str, node: dict[str, Any]) -> Iterator[str]:
    if any(missing_keys(node)):
        return
    try:
        check_allowed(str(node["_target_"]), key)
        yield from signatures.faults(node, key, GIVEN.get(key, frozenset()))
    except ValueError as error:
        yield str(error)


def optimized_metrics(cfg: DictConfig) -> list[str]:
    """Return the metrics that `optimized_metric` names: none, one, or several with commas."""
    return [name.strip() for name in (cfg.get("optimized_metric") or "").split(",") if name.strip()]


def _metric_faults(cfg: DictConfig) -> Iterator[str]:
    """Yield a sentence for each metric that is looked for and that the model never logs."""
    target = OmegaConf.select(cfg, "model._target_", throw_on_missing=False)
    logged = logged_metrics.logged_by(str(target)) if target else None
    if logged is None:
        return
    wanted = [("optimized_metric", name) for name in optimized_metrics(cfg)]
    wanted.append(("model.lr_monitor", OmegaConf.select(cfg, "model.lr_monitor")))
    for name in cfg.get("callbacks") or {}:
        key = f"callbacks.{name}.monitor"
        wanted.append((key, OmegaConf.select(cfg, key)))
    for key, metric in wanted:
        is_built_in = metric is None or metric in ("epoch", "step") or metric.startswith("lr-")
        if not is_built_in and metric not in logged:
            hint = signatures.did_you_mean(metric, logged)
            yield f"{key}={metric} is never logged by {target}{hint}. It logs {', '.join(logged)}"
