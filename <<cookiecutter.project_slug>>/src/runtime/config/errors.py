"""Hydra's and OmegaConf's errors in a line or two: what, why, and what to type."""

import difflib
import re
import textwrap
import traceback
from typing import Any

from hydra.errors import (
    ConfigCompositionException,
    InstantiationException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

from src.runtime.config.plain_config import flatten
from src.runtime.config.signatures import did_you_mean, signature
from src.runtime.identity import is_own

SHOW_PLACE = "HYDRA_FULL_ERROR=1 shows where in the code"


def explain(error: BaseException) -> str:
    """Return the text for a user's mistake."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    text = str(error)
    if sweep := re.search(r"Ambiguous value for argument '([^']+)'", text):
        return f"{sweep[1]} is several values. Sweep over them: -m {sweep[1]}"
    if "does not support sweep type : INTERVAL" in text:
        return (
            "interval(...) has no list of values, which Hydra's own sweeper needs. Search, which "
            "draws them: common/search=mnist_optuna; or write range(...) or choice(...)"
        )
    if absent := re.search(r"Could not delete from config\. '([^']+)' does not exist", text):
        return f"~{absent[1]}: there is no such key to remove{_near(absent[1], _composed(error))}"
    if unknown := re.search(r"Could not override '([^']+)'\.\s*\nTo append .*?use (.+)", text):
        return _unknown_key(unknown[1], unknown[2], _composed(error))
    if isinstance(error, MissingConfigException) and error.options is not None:
        return _unknown_choice(error)
    if isinstance(cause, ValidationError) and (merged := re.search(r"override (\S+)", text)):
        return f"{merged[1]}: {_first_line(cause)}. Give {merged[1].split('=')[0]} another value"
    if isinstance(error, OverrideParseException):
        return f"{_first_line(error)}. Quote it if it holds special signs: 'key=\"value\"'"
    if isinstance(cause, MissingMandatoryValue):
        key = cause.full_key or cause.key
        return f"{key} has no value (???). Set it: {key}=VALUE"
    if isinstance(cause, InterpolationResolutionError):
        return unresolved(cause)
    if isinstance(error, InstantiationException):  # a value that the code cannot do with, or a bug
        return f"{_uninstantiated(error)}\n{SHOW_PLACE}"
    if isinstance(error, OSError) and error.filename:
        hint = "paths.log_dir=FOLDER says where a run writes, paths.data_dir=FOLDER where it reads"
        return f"{error.filename}: {error.strerror}. {hint}\n{SHOW_PLACE}"
    if isinstance(error, ConfigCompositionException | OmegaConfBaseException):
        return " ".join(line.strip() for line in text.splitlines() if line.strip())
    return _refused(error) or text


def unresolved(error: OmegaConfBaseException, key: str = "") -> str:
    """Return the text for an interpolation that cannot be resolved.

    Args:
        error: what OmegaConf raised.
        key: the dotted key, which OmegaConf does not always know.
    """
    key = error.full_key or key or "the configuration"
    reason = _first_line(error)
    if variable := re.search(r"Environment variable '(.+)' not found", str(error)):
        reason = f"the environment variable {variable[1]} is not set; .env can set it"
    return f"{key}: {reason}. Or give another value: {key}=VALUE"


def _composed(error: BaseException) -> DictConfig:
    """Return what Hydra had composed when an override did not fit; composing again takes long."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "_apply_overrides_to_config":
            return frame.f_locals["cfg"]
    return OmegaConf.create({})


def _refused(error: BaseException) -> str | None:
    """Return the text for weights, or arguments of a constructor, that a library refuses."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    if not frames or is_own(frames[-1].f_code.co_filename):
        return None
    name, owner = frames[-1].f_code.co_name, frames[-1].f_locals.get("self")
    if name == "load_state_dict":
        return _unfitting(str(error))
    return f"{type(owner).__name__}: {error}\n{SHOW_PLACE}" if name == "__init__" else None


def _unfitting(text: str) -> str:
    """Return the text for weights that do not fit; of `load_state_dict`'s lines, the first."""
    lines = [textwrap.shorten(line, 200).rstrip(".") for line in text.splitlines()]
    faults = lines[1:] or lines
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return (
        f"The checkpoint does not fit the model: {faults[0]}{more}. Leave out what changes the "
        "model, or train anew from the weights that fit: init_from=PATH"
    )


def _unknown_key(key: str, append: str, cfg: DictConfig) -> str:
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(cfg, parent) if parent else cfg
    present = [str(k) for k in node if k != "hydra"] if isinstance(node, DictConfig) else []
    accepted = _accepted(node)
    prefix = f"{parent}." if parent else ""
    if name in accepted:
        return f"{key}: {node._target_} takes it, but no file sets it yet. Add it: {append}"
    if near := difflib.get_close_matches(name, present + accepted, n=1):
        value = append.partition("=")[2]
        hint = f"Did you mean {'' if near[0] in present else '+'}{prefix}{near[0]}={value}?"
    else:
        hint = f"There is {', '.join(present) or 'none'}."
    return f"{key}: there is no such key. {hint}\nTo add it as a new one: {append}"


def _uninstantiated(error: InstantiationException) -> str:
    key, cause = str(error).rpartition("full_key: ")[2], error.__cause__
    if cause is None or not key:
        return " ".join(str(error).split())
    if re.search("No supported gpu backend|can not run on your system", str(cause)):
        return "trainer.accelerator: torch finds no such device. Take trainer.accelerator=auto"
    reason = str(cause) if isinstance(cause, ValueError) else f"{type(cause).__name__}: {cause}"
    return f"{key.strip()}: {' '.join(reason.split())}"


def _near(key: str, cfg: DictConfig) -> str:
    plain: Any = OmegaConf.to_container(cfg, resolve=False)
    keys = flatten(plain)
    parts = {".".join(k.split(".")[:depth]) for k in keys for depth in range(1, k.count(".") + 2)}
    return did_you_mean(key, parts)


def _accepted(node: object) -> list[str]:
    """Return the keywords that the target of a node takes."""
    target = node.get("_target_") if isinstance(node, DictConfig) else None
    try:
        return list(signature(str(target)).parameters) if target else []
    except ImportError:
        return []


def _unknown_choice(error: MissingConfigException) -> str:
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    options = sorted(error.options or [])
    near = difflib.get_close_matches(name, options, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    return f"{group}={name}: there is no such file. {hint}Choices: {', '.join(options)}"


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0].rstrip(".")
