"""Validate a configuration: types of keys, targets, their arguments, installed packages, files.

Hydra refuses a wrong type while it composes; the rest is checked on what it has composed. Refuses
only what certainly cannot run. Imports no torch by itself: `configuration_problems` imports the
targets of the configuration.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.utils import to_absolute_path
from omegaconf import MISSING, DictConfig, OmegaConf

from src.runtime.overrides import choices_by_group
from src.runtime.project import ConfigError
from src.runtime.suggestions import argument_hint, arguments_of, find_target

PARTS = ("data", "model", "trainer", "callbacks", "logger")  # the nodes that verbs build
EXTRAS = ("mlflow", "tensorboard", "wandb", "optuna")  # of pyproject.toml; packages of that name


@dataclass
class Trainer:
    """Arguments of `lightning.pytorch.Trainer`; any other of them can be set as well."""

    max_epochs: int | None = MISSING


@dataclass
class Command:
    """The types of the keys of `eval.yaml`, which `predict.yaml` and `export.yaml` have as well.

    The values are in `configs/`. A project has further keys of its own, of any type.
    """

    task_name: str = MISSING
    tags: list[str] = MISSING
    seed: int | None = MISSING
    ckpt_path: str | None = MISSING
    paths: dict[str, str] = field(default_factory=dict)
    trainer: Trainer | None = field(default_factory=Trainer)


@dataclass
class Train(Command):
    """The types of the keys of `train.yaml`."""

    train: bool = MISSING
    test: bool = MISSING
    init_from: str | None = MISSING


def register_schemas() -> None:
    """Store the schemas, for the line `- optional schema@_global_: train` in `configs/`."""
    for name, schema in {"train": Train, "eval": Command}.items():
        node = OmegaConf.structured(schema)
        OmegaConf.set_struct(node, False)  # accepts keys that the dataclass does not have
        OmegaConf.set_struct(node.trainer, False)
        ConfigStore.instance().store(group="schema", name=name, node=node)


def quick_problems(cfg: DictConfig) -> Iterator[str]:
    """Yield what is wrong in a configuration, as far as it shows without importing its targets.

    Raises:
        omegaconf.errors.InterpolationResolutionError: if a node cannot be resolved.
    """
    for key in sorted(OmegaConf.missing_keys(cfg)):
        if not key.startswith("model."):  # which the datamodule fills in
            yield f"{key} has no value (???). Type {key}=VALUE"
    if cfg.get("mode") not in (None, "min", "max"):
        yield f"mode={cfg.mode} is unknown. Type mode=min (a loss) or mode=max (an accuracy)"
    for key in ("ckpt_path", "init_from"):
        value = cfg.get(key)
        if value not in (None, "last", "best", "hpc") and ":" not in value:
            path = Path(to_absolute_path(value)).expanduser()
            if not path.exists():
                yield f"{key}={value}: {path} does not exist. Type a file, a run folder or best"
    for part in PARTS:
        if not isinstance(cfg.get(part), DictConfig | None):
            yield f"{part}={cfg[part]} is no node. Type {part}=NAME, a file of configs/"
        elif part in ("callbacks", "logger"):
            for name, value in (cfg.get(part) or {}).items():
                if value and not (isinstance(value, DictConfig) and "_target_" in value):
                    yield f"{part}.{name} has no _target_, so it cannot be built: leave it out"


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


def _node_problems(key: str, node: dict[str, Any]) -> Iterator[str]:
    target = str(node["_target_"])
    try:
        parameters = arguments_of(find_target(target))
    except ConfigError as error:
        yield f"{key}._target_={target}: {error}"
        return
    if parameters is None:
        return
    for name in node:
        if name not in parameters and not name.startswith("_"):  # as Hydra's own keys do
            yield f"{key}.{name}: {argument_hint(key, name, target, parameters)}"
    if key == "trainer" or node.get("_partial_") or "_args_" in node:
        return
    for name, parameter in parameters.items():
        is_required = parameter.default is parameter.empty
        if is_required and name not in node and parameter.kind is not parameter.VAR_POSITIONAL:
            group = f"{key}.{name}".replace(".", "/")
            advice = f"{group}=NAME" if group in choices_by_group() else f"+{key}.{name}=VALUE"
            yield f"{key}.{name} is missing: {target} needs it. Type {advice}"
