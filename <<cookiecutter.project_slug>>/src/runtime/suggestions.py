"""From an error to one line: what is wrong, why, and what to type."""

import difflib
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from hydra.errors import HydraException, InstantiationException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.runtime.check import node_problems, place_in_own_code
from src.runtime.overrides import choice_hint, compose, groups_of_command
from src.runtime.project import ConfigError

# What Hydra says of a key that has a value already.
HAS_A_VALUE = re.compile(r"(?:remove \+ prefix: '|use 'override )(.+)'")


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
    node = re.search(r"full_key: (\S+)", str(error))  # that cannot be built
    prefix = f"{node[1]}: " if node else ""
    if not isinstance(cause, ValueError):
        prefix += f"{type(cause).__name__}: "
    return prefix + _one_line(cause) + place_in_own_code(cause)


def _explain_composition(error: HydraException, config_name: str, argv: Sequence[str]) -> str:
    if unknown := re.search(r"Could not override '([^']+)'", str(error)):
        return f"{unknown[1]}: there is no such key. {_key_hint(unknown[1], config_name, argv)}"
    if present := HAS_A_VALUE.search(str(error)):
        return f"it has a value already. Type it without +: {present[1].replace(': ', '=')}"
    if isinstance(error, OverrideParseException):
        return f"{error.override} cannot be read. Quote the value: \"KEY='VALUE'\""
    cause = f": {_one_line(error.__cause__)}" if error.__cause__ else ""
    return f"{_one_line(error).rstrip('.')}{cause}. {_where_keys_are(config_name)}"


def _one_line(error: BaseException) -> str:
    """Return the message of an error, without the details that OmegaConf and Hydra add."""
    text = re.split(r"\n +full_key:|\nConfig search path", str(error))[0]
    return textwrap.shorten(text, 400)


def _where_keys_are(config_name: str) -> str:
    return f"To see all keys: python src/{config_name}.py --cfg job"


def _key_hint(key: str, config_name: str, argv: Sequence[str]) -> str:
    """Return what to type in place of a key that does not exist."""
    typed = next((override for override in argv if override.startswith(f"{key}=")), "")
    value = typed.partition("=")[2]
    try:
        cfg = compose(config_name, *(o for o in argv if o != typed and not o.startswith("-")))
    except (HydraException, ConfigError):  # there are other mistakes, or it is a sweep
        cfg = compose(config_name)
    parent, _, name = key.rpartition(".")
    with suppress(OmegaConfBaseException):  # a part of the key is no node
        target = OmegaConf.select(cfg, f"{parent}._target_")
        if target:
            problems = node_problems(parent, {"_target_": target, name: value})
            return next(problems, f"{target} takes it, so add it with +: +{key}={value}")
    groups = groups_of_command(config_name)
    advice = {group.rpartition("/")[2]: choice_hint(group, value) for group in groups}
    for other in _all_keys(OmegaConf.to_container(cfg)):
        advice.setdefault(other, f"{other}={value}")
    similar = [other for other in advice if f".{other}".endswith(f".{key}")]
    similar += [other for other in advice if other.startswith(key) or key.endswith(f"_{other}")]
    similar += difflib.get_close_matches(key, advice, 1, 0.7)
    return f"Did you mean {advice[similar[0]]}?" if similar else _where_keys_are(config_name)


def _all_keys(content: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(content, dict):
        for key, value in content.items():
            yield f"{prefix}{key}"
            yield from _all_keys(value, f"{prefix}{key}.")
