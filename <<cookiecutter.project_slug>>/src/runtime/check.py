"""Validate a composed configuration: targets, their arguments, installed packages, files.

Refuses only what certainly cannot run. Imports no torch by itself: `configuration_problems` imports
the targets of the configuration.
"""

import inspect
import re
import typing
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import UnionType
from typing import Any

from hydra.utils import to_absolute_path
from omegaconf import MISSING, DictConfig, OmegaConf

from src.runtime.overrides import choices_by_group
from src.runtime.project import ConfigError
from src.runtime.suggestions import argument_hint, arguments_of, find_target

PARTS = ("data", "model", "trainer", "callbacks", "logger")  # the nodes that verbs build
EXTRAS = ("mlflow", "tensorboard", "wandb", "optuna")  # of pyproject.toml; packages of that name
CHECKPOINT_WORDS = (None, "last", "best", "hpc")
HYDRA_KEYS = ("_target_", "_partial_", "_args_", "_recursive_", "_convert_")


def quick_problems(cfg: DictConfig) -> Iterator[str]:
    """Yield what is wrong in a configuration, as far as it shows without importing its targets.

    Raises:
        omegaconf.errors.InterpolationResolutionError: if a node cannot be resolved.
    """
    for key in cfg:
        if OmegaConf.is_missing(cfg, key):
            yield f"{key} has no value (???). Type {key}=VALUE"
    if cfg.get("mode") not in (None, "min", "max"):
        yield f"mode={cfg.mode} is unknown. Type mode=min (a loss) or mode=max (an accuracy)"
    for key in ("ckpt_path", "init_from"):
        if (value := cfg.get(key)) not in CHECKPOINT_WORDS and ":" not in value:
            path = Path(to_absolute_path(value)).expanduser()
            if not path.exists():
                yield f"{key}={value}: {path} does not exist. Type a file, a run folder or best"
    for part in PARTS:
        node = _plain_node(cfg, part)
        if not isinstance(node, dict | None):
            yield f"{part}={node} is no node. Type {part}=NAME, a file of configs/"
            continue
        for name, value in (node or {}).items() if part in ("callbacks", "logger") else ():
            if value and not (isinstance(value, dict) and "_target_" in value):
                yield f"{part}.{name} has no _target_, so it cannot be built: leave it out"
    for key, node in _target_nodes(cfg):
        for name in [name for name, value in node.items() if value == MISSING]:
            if not key.startswith("model"):  # which the datamodule fills in
                yield f"{key}.{name} has no value (???). Type {key}.{name}=VALUE"


def missing_packages(cfg: DictConfig) -> Iterator[str]:
    """Yield how to install each optional package that a configuration needs and that is missing."""
    for _, node in _target_nodes(cfg):
        name = str(node["_target_"]).rpartition(".")[2].lower()
        for package in EXTRAS:
            if package in name and find_spec(package) is None:
                install = f"pip install -e '.[{package}]'"
                yield f"{package} is not installed. Type: uv {install} (without uv: {install})"


def configuration_problems(cfg: DictConfig) -> list[str]:
    """Return what is wrong between the nodes of a configuration and what they call.

    Imports each target; what comes out of a checkpoint was checked before it was composed.
    """
    return [problem for key, node in _target_nodes(cfg) for problem in _node_problems(key, node)]


def explain_wrong_base(found: Any, base: type) -> str:
    """Return why an object, or a class, is not what a node must build, such as a `Callback`."""
    kind = found if inspect.isclass(found) else type(found)
    if any(parent.__module__.startswith("pytorch_lightning.") for parent in kind.__mro__):
        return f"{kind.__name__} is of pytorch_lightning. Write: import lightning.pytorch as pl"
    return f"{kind.__module__}.{kind.__qualname__} is no {base.__name__} of lightning.pytorch"


def _plain_node(cfg: DictConfig, part: str) -> Any:
    node = cfg.get(part)
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _target_nodes(cfg: DictConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each node with a `_target_`, with its dotted key; none below `_recursive_: false`."""
    nodes = [(part, _plain_node(cfg, part)) for part in PARTS]
    while nodes:
        key, node = nodes.pop(0)
        if isinstance(node, dict) and "_target_" in node:
            yield key, node
        if isinstance(node, dict) and node.get("_recursive_") is not False:
            nodes += [(f"{key}.{name}", value) for name, value in node.items()]
        elif isinstance(node, list):
            nodes += [(f"{key}.{index}", value) for index, value in enumerate(node)]


def _node_problems(key: str, node: dict[str, Any]) -> Iterator[str]:
    target = str(node["_target_"])
    try:
        found = find_target(target)
    except ConfigError as error:
        yield f"{key}._target_={target}: {error}"
        return
    parameters = arguments_of(found)
    hints: dict[str, Any] = {}
    with suppress(Exception):  # a name that exists for type checkers only
        hints = typing.get_type_hints(found.__init__ if inspect.isclass(found) else found)
    for name, value in node.items():
        if name in HYDRA_KEYS or parameters is None:
            continue
        if name not in parameters:
            yield f"{key}.{name}: {argument_hint(key, name, target, [*parameters])}"
        elif _is_wrong(value, hints.get(name), parameters[name].default):
            expected = inspect.formatannotation(hints[name])
            yield f"{key}.{name}={value}: {target} expects {expected}. Type {key}.{name}=VALUE"
    if key == "trainer" or node.get("_partial_") or "_args_" in node:
        return
    for name, parameter in (parameters or {}).items():
        is_required = parameter.default is parameter.empty
        if is_required and name not in node and parameter.kind is not parameter.VAR_POSITIONAL:
            group = f"{key}.{name}".replace(".", "/")
            advice = f"{group}=NAME" if group in choices_by_group() else f"+{key}.{name}=VALUE"
            yield f"{key}.{name} is missing: {target} needs it. Type {advice}"


def _is_wrong(value: Any, hint: Any, default: Any) -> bool:
    """Return whether a value certainly cannot be what a number or a boolean is expected for."""
    is_union = typing.get_origin(hint) in (typing.Union, UnionType)
    expected = set(typing.get_args(hint) if is_union else [hint]) - {type(None)}
    if not expected or not expected <= {int, float, bool} or type(value) is type(default):
        return False
    if isinstance(value, str):
        return not re.fullmatch(r"\?\?\?|[-+.\de]+", value)  # missing, or a number in quotes
    return isinstance(value, list) or (isinstance(value, dict) and "_target_" not in value)
