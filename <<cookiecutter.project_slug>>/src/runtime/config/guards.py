"""Mistakes that can be known from the configuration alone, before anything is built or read."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.runtime import identity
from src.runtime.config import errors, logged_metrics, schema, signatures
from src.runtime.instantiate import check_allowed, nodes

CONFIGS = Path(identity.CONFIGS)
PARTS = ("data", "model", "trainer", "callbacks", "logger")
LOOKING = ("--cfg", "-c", "--info", "-i", "--help", "-h", "--hydra-help")  # and running nothing
# What `build` gives to the trainer by itself.
GIVEN = {"trainer": frozenset({"callbacks", "logger"})}


@cache
def groups() -> dict[str, list[str]]:
    """Return each config group, such as `model/net`, with its choices."""
    found: dict[str, list[str]] = {}
    for path in sorted(CONFIGS.rglob("*.yaml")):
        group = path.parent.relative_to(CONFIGS).as_posix()
        if group != ".":
            found.setdefault(group, []).append(path.stem)
    return found


def words(config_name: str) -> dict[str, list[str]]:
    """Return what is typed to choose a file in each group, such as `common/logger@logger`.

    Args:
        config_name: of the primary configuration, whose defaults list names the groups.
    """
    text = (CONFIGS / f"{config_name}.yaml").read_text(encoding="utf-8")
    packages = dict(re.findall(r"^  - /?([\w/]+)@?(\w*):", text, re.MULTILINE))
    found = {}
    for group, choices in groups().items():
        if group in packages:
            found[f"{group}@{packages[group]}".rstrip("@")] = choices
        elif group.split("/")[0] in packages:  # the parts of a model
            found[group] = choices
    return found


def check_overrides(arguments: Sequence[str]) -> None:
    """Refuse what Hydra would accept in silence, and mean otherwise than the user.

    Raises:
        ValueError: for `logger=csv`, which turns the node `logger` into a word, and for a group
            that is chosen twice; and for a search without `-m`.
    """
    given: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        key = key.lstrip("+~")
        if not key or not equals or key.startswith("-"):
            continue
        is_word = value.strip("'\"") not in ("", "null") and value[0] not in "{["
        if is_word and (word := _meant_as_group(key)):
            raise ValueError(
                f"{key}={value} would replace the whole node `{key}` by a word. "
                f"Choose a file of configs/{word.partition('@')[0]}/ instead: {word}={value}"
            )
        if key in given and key.partition("@")[0] in groups():
            raise ValueError(
                f"{key} is chosen twice ({given[key]}, {value}), but a run has one. "
                f"Keep one of them, or sweep over both: -m {key}={given[key]},{value}"
            )
        if key == "experiment" and value.startswith("["):
            raise ValueError(
                f"experiment={value} names several, but a run has one. "
                f"Sweep over them: -m experiment={value.strip('[]')}"
            )
        given[key] = value
    search = given.get("common/search", "null")
    is_sweep = "hydra.mode" in given or {"-m", "--multirun", *LOOKING} & set(arguments)
    if search != "null" and not is_sweep:
        raise ValueError(f"common/search={search} is a sweep, and a run is one job: add -m")


def _meant_as_group(key: str) -> str | None:
    """Return the group that is meant by a key which names a node: `model/net` by `model.net`."""
    if "/" in key or key in groups():
        return None
    for word in words("train"):
        group, _, package = word.partition("@")
        if key in (package, group.replace("/", "."), group.removeprefix("common/")):
            return word
    return None


def check_config(cfg: DictConfig) -> None:
    """Check a composed configuration against the code that it calls.

    Raises:
        ValueError: with the first fault.
    """
    for key in missing_keys(cfg):
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
    called: dict[str, DictConfig] = {}
    for group in PARTS:
        part = cfg.get(group)
        if isinstance(part, str):
            yield f"{group}: {part} is a word where a node belongs. Choose a file of its group"
            continue
        try:
            called |= nodes(part, group)
        except OmegaConfBaseException as error:
            yield errors.unresolved(error)
            continue
        if part is not None and group in ("data", "model", "trainer") and group not in called:
            yield f"{group} has no _target_: choose a file of configs/{group}/"
    for key, values in schema.allowed():
        value = OmegaConf.select(cfg, key)
        if value is not None and value not in values:
            near = signatures.did_you_mean(str(value), values)
            yield f"{key}={value} is none of {', '.join(values)}{near}. Set {key}=VALUE"
    for key, node in called.items():
        yield from _call_faults(key, node)
    yield from _metric_faults(cfg)


def missing_keys(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys that are `???`, without resolving any interpolation."""
    for key in map(str, cfg):
        name = f"{prefix}{key}"
        if OmegaConf.is_missing(cfg, key):
            yield name
        elif not OmegaConf.is_interpolation(cfg, key) and isinstance(cfg[key], DictConfig):
            yield from missing_keys(cfg[key], f"{name}.")


def _call_faults(key: str, node: DictConfig) -> Iterator[str]:
    if any(missing_keys(node)):
        return
    try:
        check_allowed(str(node["_target_"]), key)
        yield from signatures.faults(node, key, GIVEN.get(key, frozenset()))
    except OmegaConfBaseException as error:
        yield errors.unresolved(error)
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
