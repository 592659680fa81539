"""Validate a configuration: types of keys, targets, their arguments, installed packages, files.

Hydra refuses a wrong type while it composes; the rest is checked on what it has composed. Refuses
only what certainly cannot run. Imports no torch by itself: `invalid_target_messages` imports the
targets of the configuration.
"""

import inspect
import re
import textwrap
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.utils import to_absolute_path
from omegaconf import MISSING, DictConfig, OmegaConf

from src.runtime.project import PROJECT_ROOT, ConfigError, did_you_mean, import_object

PARTS = ("data", "model", "trainer", "callbacks", "logger")  # the nodes that verbs build
# Where a target may be that was written without its package, or with the wrong one.
PACKAGES = (
    *("torch", "torch.nn", "torch.optim", "torch.optim.lr_scheduler", "torchmetrics"),
    *("lightning.pytorch", "lightning.pytorch.callbacks", "lightning.pytorch.loggers"),
)


@dataclass
class TrainerSchema:
    """Schema of the node `trainer`, which accepts all other arguments of Lightning's Trainer."""

    max_epochs: int | None = MISSING


@dataclass
class TrainSchema:
    """Schema of `train.yaml`, which accepts further keys of any type."""

    task_name: str = MISSING
    tags: list[str] = MISSING
    train: bool = MISSING
    test: bool = MISSING
    seed: int | None = MISSING
    ckpt_path: str | None = MISSING
    init_from: str | None = MISSING
    paths: dict[str, str] = field(default_factory=dict)
    trainer: TrainerSchema | None = field(default_factory=TrainerSchema)


def register_config_schema() -> None:
    """Register the schema of `train.yaml` in Hydra's ConfigStore as `schema/train`."""
    node = OmegaConf.structured(TrainSchema)
    OmegaConf.set_struct(node, False)  # accepts keys that the dataclass does not have
    OmegaConf.set_struct(node.trainer, False)
    ConfigStore.instance().store(group="schema", name="train", node=node)


def invalid_value_messages(cfg: DictConfig) -> Iterator[str]:
    """Yield a message for each missing or invalid value, without importing any target.

    Raises:
        omegaconf.errors.InterpolationResolutionError: if a node cannot be resolved.
    """
    for key in cfg:
        if OmegaConf.is_missing(cfg, key):
            yield f"{key} has no value (???). Type {key}=VALUE"
    if cfg.get("mode") not in (None, "min", "max"):
        yield f"mode={cfg.mode} is unknown. Type mode=min (a loss) or mode=max (an accuracy)"
    for key in ("ckpt_path", "init_from"):
        value = cfg.get(key)
        if value not in (None, "last", "best", "hpc") and ":" not in value:
            path = Path(to_absolute_path(value)).expanduser()
            if not path.exists():
                yield f"{key}={value}: {path} does not exist. Type a file, a run folder or best"
    for name, node in (cfg.get("callbacks") or {}).items():
        if node and not (OmegaConf.is_dict(node) and "_target_" in node):
            yield f"callbacks.{name} has no _target_. To use that file: callbacks=[default,{name}]"


def uninstalled_logger_messages(cfg: DictConfig) -> Iterator[str]:
    """Yield an install message for each selected logger that is not installed."""
    for name in cfg.get("logger") or {}:
        if name in ("mlflow", "tensorboard", "wandb") and find_spec(name) is None:
            install = f"pip install -e '.[{name}]'"
            yield f"{name} is not installed. Type: uv {install} (without uv: {install})"


def invalid_target_messages(cfg: DictConfig) -> list[str]:
    """Return a message for each invalid `_target_` and each unexpected argument.

    Imports each target; what comes out of a checkpoint was checked before it was composed.
    """
    return [text for key, node in _target_nodes(cfg) for text in invalid_node_messages(key, node)]


# The fastest first.
CHECKS = (invalid_value_messages, uninstalled_logger_messages, invalid_target_messages)


def invalid_node_messages(key: str, node: dict[str, Any]) -> Iterator[str]:
    """Yield a message if the target is invalid, and for each argument it does not accept."""
    target = str(node["_target_"])
    try:
        accepted = _arguments_of(import_target(target))
    except ConfigError as error:
        yield f"{key}._target_={target}: {error}"
        return
    if accepted is None:
        return
    for name in node:
        if name not in accepted and not name.startswith("_"):  # as Hydra's own keys do
            near = did_you_mean(name, accepted, f"{key}.{{}}")
            takes = textwrap.shorten(", ".join(accepted), 200, placeholder=" ...")
            yield f"{key}.{name}: {target} takes no {name}.{near} It takes {takes or 'nothing'}"


def import_target(path: str) -> Any:
    """Import and return the object that a `_target_` names.

    Raises:
        ConfigError: if there is none, with the nearest one, or its module cannot be imported.
    """
    try:
        return import_object(path)
    except Exception as error:  # also what its module raises
        cause = error.__cause__ or error
        missing = str(getattr(cause, "name", None))
        reason = f"{type(cause).__name__}: {cause}{error_location_suffix(cause)}"
        if missing == "pytorch_lightning":
            reason = "write: import lightning.pytorch as pl"
        elif isinstance(cause, ModuleNotFoundError) and path.startswith(missing):
            reason = f"no module {missing}.{_nearest_target(path)}"
        raise ConfigError(reason) from error


def error_location_suffix(error: BaseException) -> str:
    """Return ` (FILE:LINE; ...)` for an error from the project, otherwise an empty string."""
    own = rf'"{re.escape(str(PROJECT_ROOT))}.(src.(?!runtime)\w+[/\\].+)", line (\d+)'
    places = re.findall(own, "".join(traceback.format_tb(error.__traceback__)))
    hint = "HYDRA_FULL_ERROR=1 shows the traceback"
    return f" ({places[-1][0]}:{places[-1][1]}; {hint})" if places else ""


def _nearest_target(path: str) -> str:
    """Return ` Did you mean X?` for a target in the same module, or in one of the PACKAGES."""
    parent, _, name = path.rpartition(".")
    with suppress(ImportError, ValueError):  # ValueError: the path has no dot
        return did_you_mean(name, dir(import_module(parent)), f"{parent}.{{}}")
    modules = [module for module in PACKAGES if hasattr(import_module(module), name)]
    return f" Did you mean {modules[0]}.{name}?" if modules else " Is it installed?"


def _arguments_of(target: Any) -> dict[str, inspect.Parameter] | None:
    """Return the parameters of a callable; None if they are not known, or any are accepted."""
    # A decorator may accept more than what it wraps; those of Lightning do not.
    follow = str(getattr(target, "__module__", "")).startswith("lightning.")
    try:
        parameters = inspect.signature(target, follow_wrapped=follow).parameters
    except (TypeError, ValueError):  # written in C
        return None
    is_open = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return None if is_open else dict(parameters)


def _target_nodes(cfg: DictConfig) -> Iterator[tuple[str, Any]]:
    """Yield each node with a `_target_`, with its dotted key; none below `_recursive_: false`."""
    parts = [part for part in PARTS if OmegaConf.is_config(cfg.get(part))]
    nodes = [(part, OmegaConf.to_container(cfg[part], resolve=True)) for part in parts]
    while nodes:
        key, node = nodes.pop(0)
        if isinstance(node, dict) and "_target_" in node:
            yield key, node
        if isinstance(node, dict) and node.get("_recursive_") is not False:
            nodes += [(f"{key}.{name}", value) for name, value in node.items()]
        elif isinstance(node, list):
            nodes += [(f"{key}.{index}", value) for index, value in enumerate(node)]
