"""The command line: what can be chosen, and what Hydra would accept in silence."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from src.runtime import identity

CONFIGS = Path(identity.CONFIGS)
NEEDED = ("data", "model")  # of which every run has one
NO_NAME = re.compile(r"null|true|false|[-+]?[\d.]+(e[-+]?\d+)?", re.IGNORECASE)
LOOKING = ("--cfg", "-c", "--info", "-i", "--help", "-h", "--hydra-help")  # and running nothing


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


def check(arguments: Sequence[str]) -> None:
    """Refuse what Hydra would accept in silence, or refuse without saying what to type.

    Raises:
        ValueError: with what to type instead.
    """
    given: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if argument.startswith("~") and key[1:] in NEEDED:
            raise ValueError(f"{key}: a run needs {key[1:]}. Choose another: {key[1:]}=NAME")
        key = key.lstrip("+~")
        if not key or not equals or key.startswith("-"):
            continue
        for fault in _faults(key, value, given):
            raise ValueError(fault)
        given[key] = value
    search = given.get("common/search", "null")
    is_sweep = "hydra.mode" in given or {"-m", "--multirun", *LOOKING} & set(arguments)
    if search != "null" and not is_sweep:
        raise ValueError(f"common/search={search} is a sweep, and a run is one job: add -m")


def _faults(key: str, value: str, given: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each fault of `key=value`, after what was `given` before it."""
    is_word = value.strip("'\"") not in ("", "null") and value[0] not in "{["
    if is_word and (word := _meant_as_group(key)):
        yield (
            f"{key}={value} would replace the whole node `{key}` by a word. "
            f"Choose a file of configs/{word.partition('@')[0]}/ instead: {word}={value}"
        )
    choices = groups().get(key.partition("@")[0], [])
    if choices and NO_NAME.fullmatch(value) and value not in choices:
        yield f"{key}={value} names no file. Choices: {', '.join(choices)}; or leave it out"
    if choices and key in given:
        yield (
            f"{key} is chosen twice ({given[key]}, {value}), but a run has one. "
            f"Keep one of them, or sweep over both: -m {key}={given[key]},{value}"
        )
    if key in ("experiment", *NEEDED) and value.startswith("["):
        yield (
            f"{key}={value} names several, but a run has one. "
            f"Sweep over them: -m {key}={value.strip('[]')}"
        )


def _meant_as_group(key: str) -> str | None:
    """Return the group that is meant by a key which names a node: `model/net` by `model.net`."""
    if "/" in key or key in groups():
        return None
    for word in words("train"):
        group, _, package = word.partition("@")
        if key in (package, group.replace("/", "."), group.removeprefix("common/")):
            return word
    return None
