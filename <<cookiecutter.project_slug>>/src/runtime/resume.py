"""Which checkpoint or run a command means: `ckpt_path=best`, `last`, a file, or a run folder.

`last` and a folder continue that run in its folder, with its recorded overrides. `best` and a
file start a new run. Imports torch only to read the configuration inside a checkpoint.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

from src.runtime.overrides import compose
from src.runtime.project import PROJECT_ROOT, ConfigError, quoted
from src.runtime.run_folder import (
    RunIsActive,
    active_owner,
    find_checkpoint,
    newest_run,
    read_run,
)


def overrides_to_resume(argv: Sequence[str]) -> list[str]:
    """Return the command line that continues the run which `ckpt_path` names, if it names one.

    The recorded overrides of that run are repeated, except those that are given again.

    Raises:
        ConfigError: if there is no such run, or it is running.
    """
    given = {_key(argument): argument.partition("=")[2] for argument in argv if "=" in argument}
    value = _unquoted(given.get("ckpt_path", ""))
    others = [argument for argument in argv if _key(argument) != "ckpt_path"]
    if value == "last":
        plain = [argument for argument in others if not argument.startswith("-")]
        cfg = compose("train", *plain)
        run_dir = _newest_unfinished(cfg.paths.log_dir, cfg.task_name)
    elif value and Path(value).expanduser().is_dir():
        run_dir = Path(value).expanduser().resolve()
    else:
        return list(argv)
    if {"-m", "--multirun"} & set(argv):
        raise ConfigError(f"ckpt_path={value} names one run, but -m starts several: leave out -m")
    record = read_run(run_dir)
    if record is None:
        raise ConfigError(f"ckpt_path={value} is no run folder: it holds no run.json")
    if owner := active_owner(run_dir):
        raise RunIsActive(
            f"{run_dir} is running: process {owner['pid']} on {owner['host']}, last seen "
            f"{owner['seconds']:.0f} seconds ago"
        )
    typed = {_key(argument) for argument in argv}
    recorded = [override for override in record["overrides"] if _key(override) not in typed]
    folder = quoted(run_dir)
    return [*recorded, *others, f"ckpt_path={folder}", f"hydra.run.dir={folder}"]


def store_checkpoint_config(argv: Sequence[str]) -> list[str]:
    """Store data, model and precision of the checkpoint that is named as `checkpoint/config`.

    So overrides apply on top of what the checkpoint was trained with, and `data=NAME` replaces
    its data.

    Returns:
        The command line, with the path of the checkpoint's file.

    Raises:
        ConfigError: if there is no such checkpoint, or its configuration cannot be used.
    """
    given = dict(argument.split("=", 1) for argument in argv if "=" in argument)
    value = _unquoted(given.get("ckpt_path", ""))
    if not value:
        return list(argv)
    path = find_checkpoint(value, given.get("paths.log_dir") or PROJECT_ROOT / "logs")
    nodes = {key: node for key, node in _config_of(path).items() if key not in given}
    ConfigStore.instance().store(group="checkpoint", name="config", node=nodes, package="_global_")
    file = f"ckpt_path={quoted(path.resolve())}"
    return [file if argument.startswith("ckpt_path=") else argument for argument in argv]


def is_folder_to_continue(value: Any) -> bool:
    """Return whether `ckpt_path` names a run folder, to continue in."""
    return bool(value) and Path(str(value)).expanduser().is_dir()


def _newest_unfinished(log_dir: str, task: str) -> Path:
    found = newest_run(
        log_dir,
        lambda _, record: record["status"] in ("failed", "killed") and record.get("task") == task,
    )
    if found is None:
        raise ConfigError(
            f"ckpt_path=last: no run of the task {task} in {log_dir} is unfinished. "
            "To continue another one, give its folder: ckpt_path=FOLDER"
        )
    return found


def _config_of(path: Path) -> dict[str, Any]:
    # Imports torch, which a mistake before this point need not wait for.
    from src.runtime.checkpoint_config import read_trusted_config

    return read_trusted_config(path)


def _unquoted(value: str) -> str:
    return value.strip("'\"").replace("\\'", "'")


def _key(argument: str) -> str:
    return argument.lstrip("+~").partition("=")[0]
