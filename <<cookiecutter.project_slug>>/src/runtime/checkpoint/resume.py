"""`ckpt_path=last` and `ckpt_path=RUN_DIR`: a run goes on in its folder, with its overrides."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from src.runtime import cli, record
from src.runtime.checkpoint import checkpoint_paths

log = logging.getLogger(__name__)


def arguments(given: Sequence[str]) -> list[str]:
    """Return the command line that takes up the run which `ckpt_path` names, if it names one.

    The overrides of the run are repeated, but for those that are given anew.

    Raises:
        ValueError: if there is no such run, or it is running.
    """
    values = {_key(argument): argument.partition("=")[2] for argument in given}
    value = values.get("ckpt_path", "").strip("'\"")
    others = [argument for argument in given if _key(argument) != "ckpt_path"]
    run_dir = _run_dir(value, others)
    if run_dir is None:
        return list(given)
    if {"-m", "--multirun"} & set(given):
        raise ValueError(f"ckpt_path={value} names one run, but -m starts several: leave out -m")
    entry = record.read(run_dir)
    if entry is None:
        raise ValueError(f"ckpt_path={value} is no folder of a run: it holds no {record.FILE}")
    if entry["status"] == "running":
        raise ValueError(f"{run_dir} is still running: process {entry['pid']} on {entry['host']}")
    former = [o for o in entry["overrides"] if _key(o) not in values]
    folder = checkpoint_paths.quoted(run_dir)
    here = [_key(argument) for argument in given].index("ckpt_path")
    return [
        *given[:here],
        *former,
        f"ckpt_path={folder}",
        f"hydra.run.dir={folder}",
        *given[here + 1 :],
    ]


def checkpoint(value: str | None, log_dir: str) -> str | None:
    """Return the file that training goes on from, or None to start at the beginning.

    Raises:
        ValueError: if `value` names none.
    """
    if not value:
        return None
    run_dir = _unfinished(value, log_dir, None) if value == "last" else Path(value)
    if not run_dir.is_dir():
        return str(checkpoint_paths.find(value, log_dir))
    from src.runtime.checkpoint import checkpoint_io

    for path in checkpoint_paths.newest_first(run_dir):
        try:
            checkpoint_io.read(path)
        except ValueError as error:
            log.warning("%s. The one before is tried", error)
            continue
        log.warning("The run in %s goes on from %s", run_dir, path.name)
        return str(path)
    log.warning("The run in %s wrote no checkpoint: it starts at its beginning", run_dir)
    return None


def _run_dir(value: str, others: Sequence[str]) -> Path | None:
    if value and Path(value).is_dir():
        return Path(value).resolve()
    if value != "last" and not checkpoint_paths.is_mlflow_id(value):
        return None
    cfg = cli.compose("train", *(o for o in others if not o.startswith("-")))
    if value == "last":
        return _unfinished(value, cfg.paths.log_dir, cfg.task_name)
    return record.of_mlflow(value, cfg.paths.log_dir)


def _unfinished(value: str, log_dir: str, task: str | None) -> Path:
    found = record.newest(
        log_dir,
        lambda _, entry: entry["status"] in ("failed", "killed") and task in (None, entry["task"]),
    )
    if found is None:
        raise ValueError(
            f"ckpt_path={value}: no run of the task {task} in {log_dir} is unfinished. "
            "To go on from another, give its folder: ckpt_path=RUN_DIR"
        )
    return found


def _key(argument: str) -> str:
    return re.sub(r"^[+~]*", "", argument).partition("=")[0]
