"""From an error to one line: what is wrong, why, and what to type.

Imports the target of a node only to say what it takes; no torch otherwise.
"""

import difflib
import inspect
import re
import textwrap
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from hydra.errors import HydraException, InstantiationException, OverrideParseException
from omegaconf import DictConfig, OmegaConf

from src.runtime.overrides import choice_hint, compose, did_you_mean, groups_of_command
from src.runtime.project import PROJECT_ROOT, ConfigError, find_object, quoted

# Where a target may be that was written without its package, or with the wrong one.
PACKAGES = (
    *("torch.nn", "torch.optim", "torch.optim.lr_scheduler", "torch", "torchmetrics"),
    *("lightning.pytorch", "lightning.pytorch.callbacks", "lightning.pytorch.loggers"),
)
# What Hydra says of a key that has a value already.
WITHOUT_PLUS = re.compile(r"(?:remove \+ prefix: '|use 'override )(.+)'")


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
    text = _one_line(cause)
    if not isinstance(cause, ValueError):
        text = f"{type(cause).__name__}: {text}"
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
        missing = str(getattr(cause, "name", None))
        reason = f"{type(cause).__name__}: {cause}{_place_in_own_code(cause)}"
        if missing == "pytorch_lightning":
            reason = "write: import lightning.pytorch as pl"
        elif isinstance(cause, ModuleNotFoundError) and path.startswith(missing):
            reason = f"no module {missing}.{_nearest_target(path)}"
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


def argument_hint(key: str, name: str, target: str, accepted: Iterable[str]) -> str:
    """Return the argument of a target that was meant by `name`, or all that it takes."""
    near = did_you_mean(name, accepted, f"{key}.{{}}")
    takes = textwrap.shorten(", ".join(accepted), 200, placeholder=" ...") or "no arguments"
    return f"{target} takes no {name}.{near or f' It takes {takes}'}"


def _one_line(error: BaseException) -> str:
    """Return the message of an error, without OmegaConf's details of the key."""
    return textwrap.shorten(str(error).partition("\n    full_key")[0], 400)


def _place_in_own_code(error: BaseException) -> str:
    """Return where in the owner's code an error arose, for the end of a message; or nothing."""
    own = rf'"{re.escape(str(PROJECT_ROOT))}.(src.(?!runtime)\w+[/\\].+)", line (\d+)'
    places = re.findall(own, "".join(traceback.format_tb(error.__traceback__)))
    hint = "HYDRA_FULL_ERROR=1 shows the traceback"
    return f" ({places[-1][0]}:{places[-1][1]}; {hint})" if places else ""


def _nearest_target(path: str) -> str:
    """Return ` Did you mean X?` for a target in the same module, or in one of the PACKAGES."""
    parent, _, name = path.rpartition(".")
    for module in (parent, *PACKAGES):
        with suppress(ImportError, ValueError):  # ValueError: there is no dot
            if near := did_you_mean(name, dir(import_module(module)), f"{module}.{{}}"):
                return near
    return ""


def _explain_composition(error: HydraException, config_name: str, argv: Sequence[str]) -> str:
    text = str(error)
    if unknown := re.search(r"Could not override '([^']+)'", text):
        return f"{unknown[1]}: there is no such key. {_key_hint(unknown[1], config_name, argv)}"
    if present := WITHOUT_PLUS.search(text):
        return f"it has a value already. Type it without +: {present[1].replace(': ', '=')}"
    if isinstance(error, OverrideParseException):
        key, _, value = error.override.partition("=")
        return f'{error.override} cannot be read. Quote the value: "{key}={quoted(value)}"'
    cause = f": {_one_line(error.__cause__)}" if error.__cause__ else ""
    return f"{_one_line(error)}{cause}. To see all keys: python src/{config_name}.py --cfg job"


def _key_hint(key: str, config_name: str, argv: Sequence[str]) -> str:
    """Return what to type in place of a key that does not exist."""
    typed = next((override for override in argv if override.startswith(f"{key}=")), "")
    value = typed.partition("=")[2]
    try:
        cfg = compose(config_name, *(o for o in argv if o != typed and not o.startswith("-")))
    except (HydraException, ConfigError):  # there are other mistakes, or it is a sweep
        cfg = compose(config_name)
    groups = groups_of_command(config_name)
    advice = {group.rpartition("/")[2]: choice_hint(group, value) for group in groups}
    keys = list(_all_keys(OmegaConf.to_container(cfg)))
    for other in keys:
        advice.setdefault(other, f"{other}={value}")
    meant = [other for other in advice if f".{other}".endswith(f".{key}")]
    parent, _, name = key.rpartition(".")
    for other in keys if parent and not meant else ():
        node = OmegaConf.select(cfg, other)
        if f".{other}".endswith(f".{parent}") and isinstance(node, DictConfig):
            with suppress(ConfigError):  # there is no such target
                return _argument_hint(other, str(node.get("_target_")), name, value)
    meant = meant or difflib.get_close_matches(key, advice, 1)
    if meant:
        return f"Did you mean {advice[meant[0]]}?"
    return f"To see all keys: python src/{config_name}.py --cfg job"


def _argument_hint(key: str, target: str, name: str, value: str) -> str:
    """Return what to type in place of `KEY.NAME=VALUE`, which the node does not have."""
    arguments = arguments_of(find_target(target))
    if arguments is None or name in arguments:
        return f"{target} takes it, so add it with +: +{key}.{name}={value}"
    return argument_hint(f"++{key}", name, target, arguments)


def _all_keys(content: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield f"{prefix}{key}"
            yield from _all_keys(value, f"{prefix}{key}.")
