"""The command line: what can be chosen, and what Hydra would accept in silence."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from src.runtime import identity

CONFIGS = Path(identity.CONFIGS)
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
