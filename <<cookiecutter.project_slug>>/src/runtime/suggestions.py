"""From an error to one or two lines: what is wrong, why, and what to type.

Imports the target of a node only to say what it takes; no torch otherwise.
"""

import difflib
import inspect
import pkgutil
import re
import textwrap
import traceback
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from hydra.errors import HydraException, InstantiationException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.runtime import overrides
from src.runtime.overrides import choice_hint, compose, did_you_mean
from src.runtime.project import PROJECT_ROOT, ConfigError, find_object, quoted

# Where a target may be that was written without its package, or with the wrong one.
PACKAGES = (
    *("torch", "torch.nn", "torch.optim", "torch.optim.lr_scheduler", "torchmetrics"),
    *("lightning.pytorch", "lightning.pytorch.callbacks", "lightning.pytorch.loggers"),
)


def explain(error: BaseException, config_name: str = "train", argv: Sequence[str] = ()) -> str:
    """Return what is wrong, why, and what to type.

    Args:
        error: of the user, Hydra, OmegaConf or a library.
        config_name: of the verb.
        argv: its command line, as Hydra read it.
    """
    if isinstance(error, ConfigError):
        return str(error)
    if isinstance(error, HydraException) and not isinstance(error, InstantiationException):
        return _explain_composition(error, config_name, argv)
    cause = error.__cause__ or error
    kind, text = type(cause).__name__, " ".join(str(cause).split())
    if isinstance(cause, OSError) and cause.filename:
        text = f"{cause.filename}: {cause.strerror}"
    elif isinstance(cause, OmegaConfBaseException):
        text = str(cause).partition("\n")[0]
    elif "Error(s) in loading state_dict" in text:
        faults = textwrap.shorten(text.partition(": ")[2], 300)
        text = f"the checkpoint does not fit the model: {faults}"
    elif kind == "OutOfMemoryError":
        text = f"{text.partition('. ')[0]}. Type a smaller data.batch_size"
    elif not isinstance(cause, ValueError) and kind != "MisconfigurationException":
        text = f"{kind}: {text}"
    node = re.search(r"full_key: (\S+)", str(error))  # that cannot be built
    return (f"{node[1]}: " if node else "") + text + _place_in_own_code(cause)


def find_target(path: str) -> Any:
    """Return the object that a `_target_` names, importing it.

    Raises:
        ConfigError: if there is none, with the nearest one, or its module cannot be imported.
    """
    try:
        return find_object(path)
    except Exception as error:  # also what its module raises
        cause = error.__cause__ or error
        missing = getattr(cause, "name", None)
        reason = f"{type(cause).__name__}: {cause}{_place_in_own_code(cause)}"
        if missing == "pytorch_lightning":
            reason = "write: import lightning.pytorch as pl"
        elif isinstance(cause, ModuleNotFoundError) and f"{path}.".startswith(f"{missing}."):
            reason = _explain_missing(path, str(missing))
        raise ConfigError(reason) from error


def arguments_of(target: Any) -> dict[str, inspect.Parameter] | None:
    """Return the parameters of a callable; None if they are not known, or any are accepted."""
    # A decorator may accept more than what it wraps; those of Lightning do not.
    follow = str(getattr(target, "__module__", "")).startswith("lightning.")
    try:
        parameters = inspect.signature(target, follow_wrapped=follow).parameters
    except (TypeError, ValueError):  # written in C
        return None
    is_open = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    return None if is_open else dict(parameters)


def argument_hint(key: str, name: str, target: str, accepted: Sequence[str]) -> str:
    """Return the argument of a target that was meant by `name`, or all that it takes."""
    near = did_you_mean(name, accepted, f"{key}.{{}}")
    takes = textwrap.shorten(", ".join(accepted), 200, placeholder=" ...") or "no arguments"
    return f"{target} takes no {name}.{near or f' It takes {takes}'}"


def _place_in_own_code(error: BaseException) -> str:
    """Return where in the owner's code an error arose, for the end of a message; or nothing."""
    own = rf'"{re.escape(str(PROJECT_ROOT))}.(src.(?!runtime)\w+[/\\].+)", line (\d+)'
    places = re.findall(own, "".join(traceback.format_tb(error.__traceback__)))
    hint = "HYDRA_FULL_ERROR=1 shows the traceback"
    return f" ({places[-1][0]}:{places[-1][1]}; {hint})" if places else ""


def _explain_missing(path: str, missing: str) -> str:
    """Return the nearest target, where the module `missing`, a beginning of `path`, is none."""
    package, _, name = missing.rpartition(".")
    parent = import_module(package) if package else None
    inner = [found.name for found in pkgutil.iter_modules(getattr(parent, "__path__", []))]
    own = [f"{package}.{module}" for module in inner if package.startswith("src.")]
    reason = f"{package} has no {name}." if package else f"no module {name}."
    for module in own if package else PACKAGES:
        candidate = f"{module}.{path.rpartition('.')[2]}"
        with suppress(Exception):
            find_object(candidate)
            return f"{reason} Did you mean {candidate}?"
    if not package:
        return f"{reason} Is it installed?"
    return reason + did_you_mean(name, [*dir(parent), *inner], f"{package}.{{}}")


def _explain_composition(error: HydraException, config_name: str, argv: Sequence[str]) -> str:
    text, cause = str(error), error.__cause__
    for short, full in overrides.SHORT_GROUPS.items():  # as the user has typed it
        text = text.replace(full, short)
    if unknown := re.search(r"Could not (?:override|delete from config\.) '([^']+)'", text):
        return f"{unknown[1]}: there is no such key. " + _key_hint(unknown[1], config_name, argv)
    if present := re.search(r"(?:remove \+ prefix: '|use 'override )(.+)'", text):
        return f"it has a value already. Type it without +: {present[1].replace(': ', '=')}"
    if several := re.search(r"(?:Ambiguous value for argument|Sweep parameters) '(.+?)'", text):
        return f"{several[1]} is several values. To sweep over them, type -m {several[1]}"
    if merged := re.search(r"Error merging override ([^=]+)(.*)", text):
        node = OmegaConf.select(compose(config_name), merged[1])
        if isinstance(node, DictConfig):
            keys = ", ".join(f"{merged[1]}.{key}" for key in node)
            return f"{merged[1]} is a node, not a value. It has the keys {keys}"
        reason = str(cause).partition("\n")[0]
        return f"{merged[1]}{merged[2]}: {reason}. Type another value: {merged[1]}=VALUE"
    if choices := getattr(error, "options", None):  # of MissingConfigException
        return f"{text.partition(chr(10))[0].rstrip('.')}. Choices: {', '.join(choices)}"
    if isinstance(error, OverrideParseException):
        key, _, value = error.override.partition("=")
        return f'{error.override} cannot be read. Quote the value: "{key}={quoted(value)}"'
    return textwrap.shorten(f"{text} {cause or ''}", 300)


def _key_hint(key: str, config_name: str, argv: Sequence[str]) -> str:
    """Return what to type in place of a key that does not exist."""
    typed = next((o for o in argv if o.lstrip("+~").partition("=")[0] == key), key)
    value = typed.partition("=")[2]
    form = "~{}" if typed.startswith("~") else f"{{}}={value}"
    try:
        cfg = compose(config_name, *(o for o in argv if o != typed and not o.startswith("-")))
    except (HydraException, ConfigError):  # there are other mistakes, or it is a sweep
        cfg = compose(config_name)
    keys = list(_all_keys(OmegaConf.to_container(cfg)))
    groups = overrides.groups_of_command(config_name)
    parent, _, name = key.rpartition(".")
    ends = [form.format(other) for other in keys if other.endswith(f".{key}")]
    is_word = len(key) > 3 and not parent and not ends
    for group in groups:
        last = group.rpartition("/")[2]
        if last == key or (is_word and (last in key or key in last)):
            return f"Did you mean {choice_hint(group, value)}?"
    if ends:
        return f"Did you mean {' or '.join(ends[:3])}?"
    group, _, choice = parent.partition(".")
    if choice in groups.get(group, ()):  # callbacks.early_stopping.patience=3
        choices = f"[default,{choice}]" if "default" in groups[group] else choice
        return f"To choose that file as well, add {group}={choices}"
    for other in keys if parent else ():
        if f".{other}".endswith(f".{parent}"):
            return _node_hint(other, OmegaConf.select(cfg, other), name, value)
    near = [other for other in keys if other.startswith(key)]
    if near := near or difflib.get_close_matches(key, keys, 1, 0.75):
        return f"Did you mean {form.format(near[0])}?"
    return f"To see all: python src/{config_name}.py --cfg job"


def _node_hint(key: str, node: Any, name: str, value: str) -> str:
    """Return what to type in place of `KEY.NAME=VALUE`, where the node does not have that name."""
    if not isinstance(node, DictConfig):
        group = key.replace(".", "/")
        advice = (
            f"Type {choice_hint(group)}"
            if group in overrides.choices_by_group()
            else "It has no keys"
        )
        return f"{key} is {node}. {advice}"
    target, accepted = str(node.get("_target_", key)), [str(other) for other in node]
    near = did_you_mean(name, accepted, f"{key}.{{}}={value}").strip()
    with suppress(ConfigError):  # there is no such target
        arguments = arguments_of(find_target(target))
        if name in (arguments or ()) or not (arguments is not None or near):
            return f"{target} takes it, so add it with +: +{key}.{name}={value}"
        accepted = [*(arguments or accepted)]
    return near or argument_hint(f"+{key}", name, target, accepted)


def _all_keys(content: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield f"{prefix}{key}"
            yield from _all_keys(value, f"{prefix}{key}.")
