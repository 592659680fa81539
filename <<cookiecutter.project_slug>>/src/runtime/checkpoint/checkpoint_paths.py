"""Which file `ckpt_path` means: a file, a run's folder, `last`, `best`, or an MLflow run id."""

import re
from collections.abc import Iterator
from pathlib import Path

from src.runtime import record

LAST, PREVIOUS, NEXT = "last.ckpt", "previous.ckpt", ".next.ckpt"
FORMS = "a .ckpt file, the folder of a run, last, best, or an MLflow run id"


def find(value: str, log_dir: str | Path) -> Path:
    """Return the checkpoint to take weights from, for evaluation, say.

    Args:
        value: a file; a run's folder or its MLflow run id, for its best checkpoint; `best` or
            `last`, for that of the newest run with checkpoints.
        log_dir: where the runs lie.

    Raises:
        ValueError: if there is no such thing.
    """
    path = Path(value).expanduser()
    if path.is_file():
        return path
    check("ckpt_path", value)
    if path.is_dir():
        run_dir: Path | None = path
    elif value in ("last", "best"):
        run_dir = record.newest(log_dir, lambda run_dir, _: any(_in(run_dir)))
    else:
        run_dir = record.of_mlflow(value, log_dir)
        if run_dir is None:
            from src.runtime.tracker import mlflow_checkpoint

            return mlflow_checkpoint.download(value, log_dir)
    if run_dir is None:
        raise ValueError(f"ckpt_path={value}: no run in {log_dir} has a checkpoint")
    found = next(newest_first(run_dir), None) if value == "last" else best(run_dir)
    if found is None:
        raise ValueError(f"ckpt_path={value}: there is no checkpoint in {run_dir}")
    return found


def check(key: str, value: str) -> None:
    """Refuse what can be no checkpoint, before anything heavy is imported.

    Raises:
        ValueError: if `value` is neither a path that exists nor one of the other forms.
    """
    path = Path(value).expanduser()
    known = value in ("last", "best") or is_mlflow_id(value)
    if not (known or path.is_file() or path.is_dir()):
        raise ValueError(f"{key}={value} does not exist: give {FORMS}")


def best(run_dir: Path) -> Path | None:
    """Return the best checkpoint of a run, or the newest if none is known to be best."""
    entry = record.read(run_dir)
    if entry and entry["best_checkpoint"] and (run_dir / entry["best_checkpoint"]).is_file():
        return run_dir / entry["best_checkpoint"]
    monitored = [path for path in _in(run_dir) if path.name not in (LAST, PREVIOUS, NEXT)]
    return max(monitored, key=_written, default=None) or next(newest_first(run_dir), None)


def newest_first(run_dir: Path) -> Iterator[Path]:
    """Yield the checkpoints of a run, those to resume from first, then the others."""
    folder = run_dir / "checkpoints"
    for name in (NEXT, LAST, PREVIOUS):  # a kill between two renamings leaves NEXT
        if (folder / name).is_file():
            yield folder / name
    others = [path for path in _in(run_dir) if path.name not in (LAST, PREVIOUS, NEXT)]
    yield from sorted(others, key=_written, reverse=True)


def quoted(path: Path) -> str:
    """Return a path as Hydra reads it in an override, whatever signs it holds."""
    return "'" + str(path).replace("'", "\\'") + "'"


def is_mlflow_id(value: str) -> bool:
    """Say whether a text looks like an MLflow run id."""
    return re.fullmatch(r"[0-9a-f]{32}", value) is not None


def _in(run_dir: Path) -> Iterator[Path]:
    return (run_dir / "checkpoints").glob("*.ckpt")


def _written(path: Path) -> float:
    return path.stat().st_mtime
