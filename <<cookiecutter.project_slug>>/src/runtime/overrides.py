"""Overrides of the command line: short group names, their choices, and what `ckpt_path` means.

`logger=csv` means `common/logger@logger=csv`, and `logger=null` means `logger=none`. A choice that
does not exist is refused before Hydra composes anything. `ckpt_path=last` and a run folder continue
that run in its folder, with its recorded overrides; `best` and a file start a new run.

Imports torch only to read the configuration inside a checkpoint.
"""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from src.runtime import project, run_folder
from src.runtime.distributed import global_rank
from src.runtime.project import CONFIGS, ConfigError, did_you_mean
from src.runtime.run_folder import find_checkpoint, raise_if_active, read_run

SHORT_GROUPS = {
    "logger": "common/logger@logger",
    "callbacks": "common/callbacks@callbacks",
    "trainer": "common/trainer@trainer",
    "search": "common/search",
    "debug": "common/debug",
}
NEEDED_GROUPS = ("data", "model")
DEFAULTS_ITEM = re.compile(r"^\s*- (?:optional |override )*/?([\w/-]+)(?:@[\w.]+)?:", re.MULTILINE)
# Options of Hydra's that print something and exit.
INFO_FLAGS = {"-h", "--help", "--hydra-help", "--version", "-c", "--cfg", "-i", "--info", "-sc"}


def compose(config_name: str, *overrides: str) -> DictConfig:
    """Compose a configuration of this project in a notebook or a test.

    Args:
        config_name: `train`, `eval`, ...
        overrides: as on the command line: `compose("train", "logger=csv", "seed=1")`.

    Raises:
        ConfigError: if an override chooses a file that does not exist.
        hydra.errors.HydraException: if an override does not fit the configuration.
    """
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONFIGS), **project.COMPOSE_ARGUMENTS):
        return hydra.compose(config_name, overrides=expand_and_check_overrides(overrides))


@cache
def choices_by_group() -> dict[str, list[str]]:
    """Return the choices of each config group as a dictionary.

    A folder inside a group is a group of its own if a defaults list names it, else it only sorts
    the choices.
    """
    texts = [path.read_text("utf-8") for path in CONFIGS.rglob("*.yaml")]
    named = {name.rpartition("/")[2] for name in DEFAULTS_ITEM.findall("\n".join(texts))}
    found: dict[str, list[str]] = {}
    for path in sorted(CONFIGS.glob("*/**/*.yaml")):
        folder = path.parent
        while folder.name not in named and folder.parent != CONFIGS:
            folder = folder.parent
        choices = found.setdefault(folder.relative_to(CONFIGS).as_posix(), [])
        choices.append(path.relative_to(folder).with_suffix("").as_posix())
    return found


def choices_by_override_key(config_name: str) -> dict[str, list[str]]:
    """Return the choices of each config group of a command, by override key."""
    names = DEFAULTS_ITEM.findall((CONFIGS / f"{config_name}.yaml").read_text("utf-8"))
    return {
        group.removeprefix("common/"): choices
        for group, choices in choices_by_group().items()
        if group in names or group.partition("/")[0] in names
    }


def expand_and_check_overrides(argv: Sequence[str]) -> list[str]:
    """Return the arguments with group names in full, choices checked, and flags last.

    Raises:
        ConfigError: for a choice that does not exist, or an override that begins with dashes.
        OverrideParseException: if Hydra's grammar cannot read an override.
    """
    overrides, options = [], []
    for typed in argv:
        if re.fullmatch("-[^=.]*|[^=~]*", typed):  # `--cfg`, and the value that follows it
            options.append(typed)
        elif typed.startswith("-"):
            raise ConfigError(f"{typed} is no option. Type without dashes: {typed.lstrip('-')}")
        else:
            overrides.append(typed)
    parsed = OverridesParser.create().parse_overrides(overrides)
    return [*map(_expanded_and_checked, parsed), *options]


def choice_hint(group: str, value: str = "") -> str:
    """Return the text `GROUP=VALUE` for a valid choice, or else text that names the choices."""
    choices = choices_by_group()[SHORT_GROUPS.get(group, group).partition("@")[0]]
    return f"{group}={value}" if value in choices else f"{group}=NAME, one of {', '.join(choices)}"


def overrides_to_resume(argv: Sequence[str]) -> list[str]:
    """Return the command line, with the overrides of the run to resume, if any.

    The recorded overrides of that run are repeated, except those that are given again.

    Raises:
        ConfigError: if there is no such run, or it is running.
    """
    value = _typed_value(argv, "ckpt_path")
    others = [argument for argument in argv if _key(argument) != "ckpt_path"]
    if value == "last":
        run_dir = _newest_unfinished(others)
    elif is_existing_folder(value):
        run_dir = Path(value).expanduser().resolve()
    else:
        return list(argv)
    if {"-m", "--multirun"} & set(argv):
        raise ConfigError(f"ckpt_path={value} names one run, but -m starts several: leave out -m")
    record = read_run(run_dir)
    if not record:
        raise ConfigError(f"ckpt_path={value} is no run folder: it holds no run.json")
    if global_rank() == 0:  # the other processes of this run find it active
        raise_if_active(run_dir)
    typed = {_key(argument) for argument in argv}
    recorded = [override for override in record.get("overrides", []) if _key(override) not in typed]
    folder = project.quote_value(run_dir)
    return [*recorded, *others, f"ckpt_path={folder}", f"hydra.run.dir={folder}"]


def resolve_checkpoint_argument(argv: Sequence[str]) -> list[str]:
    """Register the checkpoint's config, and return argv with an absolute `ckpt_path`.

    So overrides apply on top of what the checkpoint was trained with, and `data=NAME` replaces
    its data.

    Raises:
        ConfigError: if there is no such checkpoint, or its configuration cannot be used.
    """
    value = _typed_value(argv, "ckpt_path")
    if not value:
        return list(argv)
    log_dir = _typed_value(argv, "paths.log_dir") or project.default_log_dir()
    path = find_checkpoint(value, log_dir).resolve()
    # Imports torch, which a mistake before this point need not wait for.
    from src.runtime.checkpoint_config import trusted_config_from_checkpoint

    nodes = trusted_config_from_checkpoint(path)
    for argument in argv:
        nodes.pop(_key(argument), None)
    ConfigStore.instance().store(group="checkpoint", name="config", node=nodes, package="_global_")
    file = f"ckpt_path={project.quote_value(path)}"
    return [file if _key(argument) == "ckpt_path" else argument for argument in argv]


def is_existing_folder(value: Any) -> bool:
    """Return whether a value is the path of an existing folder."""
    return bool(value) and Path(str(value)).expanduser().is_dir()


def _expanded_and_checked(override: Override) -> str:
    """Return one override with the full name of its group, its choices checked."""
    text, key = str(override.input_line), override.key_or_group
    value = override.value()
    groups = choices_by_group()
    group = key.replace(".", "/")
    if group != key and group in groups and isinstance(value, str):
        raise ConfigError(f"{text} would replace a node. Type {choice_hint(group, value)}")
    name = f"{key}@{override.package}" if override.package else SHORT_GROUPS.get(key, key)
    group = name.partition("@")[0]
    if group not in groups or group.startswith("hydra/"):
        return text
    if override.is_delete() or value in (None, []):
        if "none" not in groups[group] and group not in NEEDED_GROUPS:
            return f"~{name}"
        given = "none"
    else:
        given = override.get_value_string()
    is_dynamic = re.search(r"[({]", given)  # glob(*), ${KEY}
    for choice in () if is_dynamic else re.findall(r"[^][,'\"\s]+", given):
        if choice not in groups[group]:
            near = did_you_mean(choice, groups[group], f"{key}={{}}")
            choices = ", ".join(groups[group])
            raise ConfigError(f"{key}={choice}: there is no such file.{near} Choices: {choices}")
    return f"{'+' * text[:2].count('+')}{name}={given}"


def _newest_unfinished(argv: Sequence[str]) -> Path:
    cfg = compose("train", *(argument for argument in argv if not argument.startswith("-")))
    # Rank 0 may have begun to continue the run before this process looks for it.
    unfinished = ("failed", "killed", *(["running"] if global_rank() else []))
    for run_dir, record in run_folder.run_dirs_and_records_newest_first(cfg.paths.log_dir):
        is_wanted = record["status"] in unfinished and record["task"] == cfg.task_name
        if is_wanted and run_folder.checkpoints_newest_first(run_dir):
            return run_dir
    problem = f"{cfg.paths.log_dir} has no unfinished run of {cfg.task_name} with a checkpoint"
    raise ConfigError(f"ckpt_path=last: {problem}. Give a run folder: ckpt_path=FOLDER")


def _typed_value(argv: Sequence[str], key: str) -> str:
    """Return the text that is typed for a key, without quotes; empty if there is none."""
    typed = [argument for argument in argv if _key(argument) == key]
    value: Any = OverridesParser.create().parse_override(typed[-1]).value() if typed else ""
    return value if isinstance(value, str) else ""


def _key(argument: str) -> str:
    return argument.lstrip("+~").partition("=")[0]
