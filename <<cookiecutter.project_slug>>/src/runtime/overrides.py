"""Overrides of the command line: short group names, config groups and their choices.

`logger=csv` means `common/logger@logger=csv`, and `logger=null` means `logger=none`. A choice that
does not exist is refused before Hydra composes anything. Imports no torch.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import islice

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, Sweep
from omegaconf import DictConfig, OmegaConf

from src.runtime.project import COMPOSE_ARGUMENTS, CONFIGS, ConfigError

SHORT_GROUPS = {
    "logger": "common/logger@logger",
    "callbacks": "common/callbacks@callbacks",
    "trainer": "common/trainer@trainer",
    "search": "common/search",
    "debug": "common/debug",
}
SHORT_NAMES = {group: short for short, group in SHORT_GROUPS.items()}
FULL_NAMES = SHORT_GROUPS | {group.partition("@")[0]: group for group in SHORT_NAMES}
NEEDED_GROUPS = ("data", "model")
# Hydra's own options: those that print something and exit, and those that a value follows.
INFO_FLAGS = {"-h", "--help", "--hydra-help", "--version", "-c", "--cfg", "-i", "--info"}
VALUED = "-c --cfg -i --info -p --package -cp --config-path -cn --config-name -cd --config-dir"
SWITCHES = "-r --run -m --multirun --resolve -sc --shell-completion"


def compose(config_name: str, *overrides: str) -> DictConfig:
    """Compose a configuration of this project, in a notebook or a test; as often as wanted.

    Args:
        config_name: `train`, `eval`, ...
        overrides: as on the command line: `compose("train", "logger=csv", "seed=1")`.

    Raises:
        ConfigError: if an override chooses a file that does not exist.
        hydra.errors.HydraException: if an override does not fit the configuration.
    """
    given = normalised_overrides(overrides)
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIGS), **COMPOSE_ARGUMENTS):
        return hydra.compose(config_name, overrides=given)


@cache
def choices_by_group() -> dict[str, list[str]]:
    """Return each config group, such as `model/net`, with its choices, such as `team/exp1`.

    A folder inside a group is a group of its own if a defaults list names it, else it only sorts
    the choices.
    """
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(CONFIGS.rglob("*.yaml"))}
    item = re.compile(r"^\s*- (?:optional |override )*/?([\w/-]+)(?:@[\w.]+)?:", re.MULTILINE)
    named = tuple(f"/{name}" for text in texts.values() for name in item.findall(text))
    found: dict[str, list[str]] = {}
    for path in texts:
        relative = path.relative_to(CONFIGS).with_suffix("")
        folders = [folder.as_posix() for folder in relative.parents][:-1]  # the innermost first
        groups = [folder for folder in folders if f"/{folder}".endswith(named)] + folders[-1:]
        if groups:
            found.setdefault(groups[0], []).append(relative.relative_to(groups[0]).as_posix())
    return found


def groups_of_command(config_name: str) -> dict[str, list[str]]:
    """Return what is typed to choose a file of each group that a verb has, with the choices."""
    primary = OmegaConf.create({"defaults": []})
    primary.merge_with(OmegaConf.load(CONFIGS / f"{config_name}.yaml"))
    entries = [entry for entry in primary.defaults if isinstance(entry, DictConfig)]
    names = {str(name).lstrip("/").partition("@")[0] for entry in entries for name in entry}
    return {
        SHORT_NAMES.get(FULL_NAMES.get(group, group), group): choices
        for group, choices in choices_by_group().items()
        if group in names or group.partition("/")[0] in names.intersection(NEEDED_GROUPS)
    }


def normalised_overrides(argv: Sequence[str]) -> list[str]:
    """Return a command line as Hydra reads it: overrides with full group names, then options.

    Raises:
        ConfigError: for a choice that does not exist, or what is no override.
        OverrideParseException: if Hydra's grammar cannot read an override.
    """
    overrides, options = [], []
    remaining = iter(argv)
    for argument in remaining:
        name, equals, _ = argument.partition("=")
        if not argument.startswith("-"):
            overrides.append(argument)
        elif name not in {*INFO_FLAGS, *VALUED.split(), *SWITCHES.split()}:
            hint = f"Type it without dashes: {argument.lstrip('-')}" if equals else "See --help"
            raise ConfigError(f"{argument}: there is no such option. {hint}")
        else:
            options.append(argument)
            if name in VALUED.split() and not equals:
                options.extend(islice(remaining, 1))
    _refuse_slips(overrides)
    parsed = OverridesParser.create().parse_overrides(overrides)
    # Then there are further choices, of which Hydra says itself if one does not exist.
    elsewhere = r"(^| )(-c[dp]|--config-(dir|path))\b|hydra\.searchpath="
    is_closed = not re.search(elsewhere, " ".join(argv))
    return [*(_normalised(override, is_closed) for override in parsed), *options]


def did_you_mean(name: str, choices: Iterable[str], form: str = "{}") -> str:
    """Return ` Did you mean X?` for the nearest of the choices, or nothing."""
    near = difflib.get_close_matches(name, list(choices), n=1)
    return f" Did you mean {form.format(near[0])}?" if near else ""


def choice_hint(group: str, value: str, choices: Sequence[str]) -> str:
    """Return what to type to choose a file of a group: the value if it is a choice, or a list."""
    return f"{group}={value}" if value in choices else f"{group}=NAME, one of {', '.join(choices)}"


def _refuse_slips(overrides: Sequence[str]) -> None:
    for argument in overrides:
        key, equals, value = argument.partition("=")
        if not key.strip("+~ ") or key != key.strip() or not (equals or key.startswith("~")):
            line = " ".join(overrides)
            joined = re.sub(" *= *", "=", line)
            form = "KEY=VALUE" if joined == line else f"without blanks: {joined}"
            raise ConfigError(f"{argument} is no override. Type {form}")
        if value.endswith(","):
            raise ConfigError(f"{argument} ends with a comma. Type {argument.rstrip(',')}")


def _normalised(override: Override, is_closed: bool) -> str:
    """Return one override with the full name of its group, its choice checked if `is_closed`."""
    text, key, value = str(override.input_line), override.key_or_group, override.value()
    groups = choices_by_group()
    if (group := key.replace(".", "/")) != key and group in groups and isinstance(value, str | int):
        hint = choice_hint(group, str(value), groups[group])
        raise ConfigError(f"{text} would replace a node by a plain value. Type {hint}")
    name = f"{key}@{override.package}" if override.package else FULL_NAMES.get(key, key)
    base, typed = name.partition("@")[0], SHORT_NAMES.get(name, name)
    if base not in groups or base.startswith("hydra/"):
        return text
    if override.is_delete() or value is None or value == []:
        if "none" in groups[base]:
            return f"{name}=none"
        if base in NEEDED_GROUPS:
            hint = choice_hint(typed, "", groups[base])
            raise ConfigError(f"{text}: a run needs one. Type {hint}")
        return f"~{name}"
    for choice in _choices_in(value) if is_closed else ():
        if choice not in groups[base] and "${" not in choice:
            near = did_you_mean(choice, groups[base], f"{typed}={{}}")
            choices = ", ".join(groups[base])
            raise ConfigError(f"{typed}={choice}: there is no such file.{near} Choices: {choices}")
    return f"{'+' * text[:2].count('+')}{name}={override.get_value_string()}"


def _choices_in(value: object) -> list[str]:
    """Return each choice in the value of a group's override; of a glob or a range, none."""
    values = value.list if isinstance(value, ChoiceSweep) else value
    if isinstance(values, list):
        return [choice for element in values for choice in _choices_in(element)]
    return [] if isinstance(values, Sweep | Glob) else [str(getattr(values, "text", values))]
