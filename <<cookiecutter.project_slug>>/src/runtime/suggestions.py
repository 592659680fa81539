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
from pathlib import Path
from types import ModuleType
from typing import Any

from hydra.errors import HydraException, InstantiationException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError

from src.runtime import overrides
from src.runtime.overrides import choice_hint, compose, did_you_mean, groups_of_command
from src.runtime.project import PROJECT_ROOT, ConfigError, quoted

# Where a target may be that was written without its package, or with the wrong one.
PACKAGES = (
    *("src", "torch", "torch.nn", "torch.optim", "torch.optim.lr_scheduler", "torchmetrics"),
    *("lightning.pytorch", "lightning.pytorch.callbacks", "lightning.pytorch.loggers"),
)


def explain(error: BaseException, config_name: str = "train", argv: Sequence[str] = ()) -> str:
    """Return what is wrong, why, and what to type.

    Args:
        error: of the user, Hydra, OmegaConf or a library.
        config_name: of the verb.
        argv: its command line, as Hydra read it.
    """
    if isinstance(error, HydraException) and not isinstance(error, InstantiationException):
        return _explain_composition(error, config_name, argv)
    cause = error.__cause__ or error
    text = " ".join(str(cause).split())
    if isinstance(error, ConfigError):
        return str(error)
    if isinstance(cause, InterpolationResolutionError):
        key, reason = cause.full_key or "KEY", _first_line(cause)
        if variable := re.search(r"Environment variable '(.+?)' not found", text):
            reason = f"the environment variable {variable[1]} is not set (.env can set it)"
        return f"{key}: {reason}. Or type a value: {key}=VALUE"
    if plugin := re.search(r"Unknown plugin class : 'hydra_plugins\.(\w+)", text):
        package = plugin[1].replace("_", "-")
        return f"{package} is not installed. Type: uv pip install {package}"
    if isinstance(cause, OSError) and cause.filename:
        text = f"{cause.filename}: {cause.strerror}"
    elif "Error(s) in loading state_dict" in text:
        faults = [textwrap.shorten(line, 160) for line in str(cause).splitlines()[1:]]
        text = f"the checkpoint does not fit the model: {faults[0]} ({len(faults)} such lines)"
    elif type(cause).__name__ == "OutOfMemoryError":
        text = f"{text.partition('. ')[0]}. Type a smaller data.batch_size"
    elif not isinstance(cause, ValueError) and type(cause).__name__ != "MisconfigurationException":
        text = f"{type(cause).__name__}: {text}"
    node = re.search(r"full_key: (\S+)", str(error))  # that cannot be built
    return (f"{node[1]}: " if node else "") + text + place_in_own_code(cause)


def place_in_own_code(error: BaseException) -> str:
    """Return where in the owner's code an error arose, for the end of a message; or nothing."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(PROJECT_ROOT / "src"):
            place = path.relative_to(PROJECT_ROOT).as_posix()
            if place.count("/") > 1 and not place.startswith("src/runtime/"):
                return f" ({place}:{frame.lineno}; HYDRA_FULL_ERROR=1 shows the traceback)"
    return ""


def find_target(path: str) -> Any:
    """Return the object that a `_target_` names, importing it.

    Raises:
        ConfigError: if there is none, with the nearest one, or its module cannot be imported.
    """
    try:
        return _import_target(path)
    except LookupError as error:
        raise ConfigError(_explain_missing(path, *error.args)) from error
    except Exception as error:  # what its module raises
        if getattr(error, "name", None) == "pytorch_lightning":
            raise ConfigError("write: import lightning.pytorch as pl") from error
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(reason + place_in_own_code(error)) from error


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


def _import_target(path: str) -> Any:
    """Return the object at a dotted path; LookupError holds what was found, and what is missing."""
    found: Any = None
    name = ""
    for part in path.split("."):
        name = f"{name}.{part}" if name else part
        try:
            if found is None or (isinstance(found, ModuleType) and not hasattr(found, part)):
                module = import_module(name)
                found = found or module
        except ModuleNotFoundError as error:
            if error.name != name:  # the module exists, and what it imports does not
                raise
            raise LookupError(found, name) from error
        found = getattr(found, part) if "." in name else found
    return found


def _explain_missing(path: str, parent: Any, missing: str) -> str:
    """Return the nearest target, where `missing`, a beginning of `path`, is not in `parent`."""
    package, _, name = missing.rpartition(".")
    inner = [found.name for found in pkgutil.iter_modules(getattr(parent, "__path__", []))]
    reason = f"{package} has no {name}." if parent is not None else f"no module {name}."
    modules = [f"{package}.{module}" for module in inner if package.startswith("src.")]
    for module in PACKAGES if parent is None else modules:
        for candidate in (f"{module}.{path}", f"{module}.{path.rpartition('.')[2]}"):
            with suppress(Exception):
                _import_target(candidate)
                return f"{reason} Did you mean {candidate}?"
    if parent is None:
        return f"{reason} Is it installed?"
    return reason + did_you_mean(name, [*dir(parent), *inner], f"{package}.{{}}")


def _explain_composition(error: HydraException, config_name: str, argv: Sequence[str]) -> str:
    text, cause = str(error), error.__cause__
    for full, short in overrides.SHORT_NAMES.items():  # as the user has typed it
        text = text.replace(full, short)
    if unknown := re.search(r"Could not (?:override|delete from config\.) '([^']+)'", text):
        return f"{unknown[1]}: there is no such key. " + _key_hint(unknown[1], config_name, argv)
    if twice := re.search(r"Multiple values for (\S+)\. .* 'override \S+ (\S+)'", text):
        return f"{twice[1]} has a choice already. Type it without +: {twice[1]}={twice[2]}"
    if present := re.search(r"remove \+ prefix: '(.+)'", text):
        return f"that key exists already. Type it without +: {present[1]}"
    if several := re.search(r"(?:Ambiguous value for argument|Sweep parameters) '(.+?)'", text):
        return f"{several[1]} is several values. To sweep over them, type -m {several[1]}"
    if "does not support sweep type" in text:
        return "interval(...) needs a search=NAME. Without one, type choice(...) or range(...)"
    if merged := re.search(r"Error merging override ([^=]+)=?(.*)", text):
        node = OmegaConf.select(compose(config_name), merged[1])
        if isinstance(node, DictConfig):
            keys = ", ".join(f"{merged[1]}.{key}" for key in node)
            return f"{merged[1]} is a node, not a value. It has the keys {keys}"
        reason = _first_line(cause)
        return f"{merged[1]}={merged[2]}: {reason}. Type another value: {merged[1]}=VALUE"
    if choices := getattr(error, "options", None):  # of MissingConfigException
        return f"{_first_line(text)}. Choices: {', '.join(choices)}"
    if isinstance(error, OverrideParseException):
        key, _, value = error.override.partition("=")
        hint = f'Quote a value that has special characters: "{key}={quoted(value)}"'
        return f"{error.override} cannot be read: {_first_line(text)}. {hint}"
    return textwrap.shorten(f"{text} {cause or ''}", 300)


def _key_hint(key: str, config_name: str, argv: Sequence[str]) -> str:
    """Return what to type in place of a key that does not exist."""
    given = {o.lstrip("+~").partition("=")[0]: o for o in argv if not o.startswith("-")}
    typed = given.pop(key, key)
    value = typed.partition("=")[2]
    form = "~{}" if typed.startswith("~") else f"{{}}={value}"
    try:
        cfg = compose(config_name, *given.values())
    except HydraException:  # there are other mistakes, or it is a sweep
        cfg = compose(config_name)
    keys = list(_all_keys(OmegaConf.to_container(cfg)))
    groups = groups_of_command(config_name)
    same_end = [form.format(other) for other in keys if other.endswith(f".{key}")]
    is_word = len(key) > 3 and "." not in key and not same_end
    for group, choices in groups.items():
        last = group.rpartition("/")[2]
        if last == key or (is_word and (last in key or key in last)):
            return f"Did you mean {choice_hint(group, value, choices)}?"
    if same_end:
        return f"Did you mean {' or '.join(same_end[:3])}?"
    parent, _, name = key.rpartition(".")
    group, _, choice = parent.partition(".")
    if choice in groups.get(group, ()):  # callbacks.early_stopping.patience=3
        choices = f"[default,{choice}]" if "default" in groups[group] else choice
        return f"To choose that file as well, add {group}={choices}"
    for other in keys:
        if parent and f".{other}".endswith(f".{parent}"):
            return _node_hint(other, OmegaConf.select(cfg, other), name, value)
    near = [other for other in keys if other.startswith(key)]
    near += difflib.get_close_matches(key, [*keys, *groups], 1, 0.75)
    if near:
        return f"Did you mean {form.format(near[0])}?"
    return f"To see all: python src/{config_name}.py --cfg job"


def _node_hint(key: str, node: Any, name: str, value: str) -> str:
    """Return what to type in place of `KEY.NAME=VALUE`, where the node does not have that name."""
    if not isinstance(node, DictConfig):
        group = key.replace(".", "/")
        choices = overrides.choices_by_group().get(group)
        return f"{key} is {node}. " + (f"Type {choice_hint(group, '', choices)}" if choices else "")
    present, target = [str(other) for other in node], str(node.get("_target_", key))
    accepted: dict[str, Any] | None = {}
    with suppress(ConfigError):  # there is no such target
        accepted = arguments_of(find_target(target))
    near = difflib.get_close_matches(name, present, 1)
    if name in (accepted or ()) or (accepted is None and not near):
        return f"{target} takes it, so add it with +: +{key}.{name}={value}"
    if near:
        return f"Did you mean {key}.{near[0]}={value}?"
    return argument_hint(f"+{key}", name, target, [*(accepted or present)])


def _all_keys(content: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield f"{prefix}{key}"
            yield from _all_keys(value, f"{prefix}{key}.")


def _first_line(error: object) -> str:
    return next(iter(str(error).splitlines()), "").strip().rstrip(".")
