"""Which checkpoint or run a command means: `ckpt_path=best`, `last`, a file, or a run folder.

`last` and a folder continue that run in its folder, with its recorded overrides. `best` and a
file start a new run. Imports torch only to read the configuration inside a checkpoint.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser

from src.runtime.overrides import compose
from src.runtime.project import PROJECT_ROOT, ConfigError, quoted
from src.runtime.run_folder import find_checkpoint, read_run, refuse_if_active, runs_newest_first


def overrides_to_resume(argv: Sequence[str]) -> list[str]:
    """Return the command line that continues the run which `ckpt_path` names, if it names one.

    The recorded overrides of that run are repeated, except those that are given again.

    Raises:
        ConfigError: if there is no such run, or it is running.
    """
    value = _typed_value(argv, "ckpt_path")
    others = [argument for argument in argv if _key(argument) != "ckpt_path"]
    if value == "last":
        run_dir = _newest_unfinished(others)
    elif is_folder_to_continue(value):
        run_dir = Path(value).expanduser().resolve()
    else:
        return list(argv)
    if {"-m", "--multirun"} & set(argv):
        raise ConfigError(f"ckpt_path={value} names one run, but -m starts several: leave out -m")
    record = read_run(run_dir)
    if record is None:
        raise ConfigError(f"ckpt_path={value} is no run folder: it holds no run.json")
    refuse_if_active(run_dir)
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
    value = _typed_value(argv, "ckpt_path")
    if not value:
        return list(argv)
    # Imports torch, which a mistake before this point need not wait for.
    from src.runtime.checkpoint_config import trusted_config

    log_dir = _typed_value(argv, "paths.log_dir") or PROJECT_ROOT / "logs"
    path = find_checkpoint(value, log_dir).resolve()
    nodes = trusted_config(path)
    for argument in argv:
        nodes.pop(_key(argument), None)
    ConfigStore.instance().store(group="checkpoint", name="config", node=nodes, package="_global_")
    file = f"ckpt_path={quoted(path)}"
    return [file if _key(argument) == "ckpt_path" else argument for argument in argv]


def is_folder_to_continue(value: Any) -> bool:
    """Return whether `ckpt_path` names a run folder, to continue in."""
    return bool(value) and Path(str(value)).expanduser().is_dir()


def _newest_unfinished(argv: Sequence[str]) -> Path:
    cfg = compose("train", *(argument for argument in argv if not argument.startswith("-")))
    for run_dir, record in runs_newest_first(cfg.paths.log_dir):
        if record["status"] in ("failed", "killed") and record["task"] == cfg.task_name:
            return run_dir
    raise ConfigError(
        f"ckpt_path=last: no run of the task {cfg.task_name} in {cfg.paths.log_dir} is unfinished. "
        "To continue another one, give its folder: ckpt_path=FOLDER"
    )


def _typed_value(argv: Sequence[str], key: str) -> str:
    """Return the text that is typed for a key, without quotes; empty if there is none."""
    value: Any = ""
    for argument in argv:
        if _key(argument) == key:
            value = OverridesParser.create().parse_override(argument).value()
    return value if isinstance(value, str) else ""


def _key(argument: str) -> str:
    return argument.lstrip("+~").partition("=")[0]
