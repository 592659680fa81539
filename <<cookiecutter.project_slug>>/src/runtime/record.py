"""`run.json` in a run's folder: what the run is, how it ended, and with which metrics.

| key               | value                                                                        |
|-------------------|------------------------------------------------------------------------------|
| `status`          | `running`, `finished`, `failed` or `killed` (also: gone without a word)      |
| `task`            | `train`, `eval`, ...                                                         |
| `started` `ended` | ISO 8601 with time zone; `ended` is null until the run ends                  |
| `resumed`         | how many times the run was taken up again                                    |
| `host` `pid`      | of the process that ran it last                                              |
| `overrides`       | its overrides on the command line, a list                                    |
| `metrics`         | name to number, as far as the run came                                       |
| `best_checkpoint` | path relative to the folder, or null                                         |
| `error`           | why it failed or who killed it, a line, or null                              |

Imports no torch: sweeps and reports read many of these.
"""

import json
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from src.runtime.tracker.journal import read_json

FILE = "run.json"

_ours: set[int] = set()  # descriptors that hold folders


def _let_go() -> None:
    for descriptor in _ours:
        os.close(descriptor)
    _ours.clear()


if hasattr(os, "register_at_fork"):  # a worker that outlives the run must not hold its folder
    os.register_at_fork(after_in_child=_let_go)


def read(run_dir: str | Path) -> dict[str, Any] | None:
    """Return the record of a run, or None if the folder holds none.

    A run that says `running` although no process holds its folder was killed, and is returned so.
    """
    record = _parsed(run_dir)
    if record.get("status") == "running" and not is_held(run_dir):
        record |= {"status": "killed", "error": "killed without a word"}
    return record or None


def write(run_dir: str | Path, record: dict[str, Any]) -> None:
    """Replace the record of a run, so that a reader finds the old one or the new one whole."""
    path = Path(run_dir) / FILE
    temporary = path.with_name(f".{FILE}.{os.getpid()}")
    temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def update(run_dir: str | Path, **changes: Any) -> None:
    """Change keys of the record of the run that this process is."""
    write(run_dir, _parsed(run_dir) | changes)


def of_mlflow(run_id: str, log_dir: str | Path) -> Path | None:
    """Return the folder of the run that MLflow calls `run_id`, or None."""
    return newest(log_dir, lambda run_dir, _: mlflow_run_id(run_dir) == run_id)


def mlflow_run_id(run_dir: str | Path) -> str | None:
    """Return what MLflow calls a run; None as long as it has given no name."""
    return read_json(Path(run_dir) / "mlflow" / "state.json").get("run_id")


def newest(log_dir: str | Path, wanted: Callable[[Path, dict[str, Any]], bool]) -> Path | None:
    """Return the folder of the run that started last among those wanted, or None.

    Args:
        log_dir: runs lie in `log_dir/TASK/runs/*` and `log_dir/TASK/multiruns/*/*`.
        wanted: called with the folder of a run and its record.
    """
    found = [
        (entry["started"], run_dir)
        for run_dir, entry in _all(Path(log_dir))
        if wanted(run_dir, entry)
    ]
    return max(found)[1] if found else None


@contextmanager
def held(run_dir: str | Path) -> Generator[None]:
    """Hold the folder of a run, as long as the process lives at most.

    Raises:
        ValueError: if another process holds it.
    """
    for _ in range(20):  # a reader of the record may hold the folder for an instant
        if (descriptor := _lock(run_dir, exclusive=True)) is not None:
            break
        time.sleep(0.05)
    else:
        raise ValueError(f"{run_dir} belongs to a run that is still running: wait, or end it first")
    _ours.add(descriptor)
    try:
        yield
    finally:
        _ours.remove(descriptor)
        os.close(descriptor)


def is_held(run_dir: str | Path) -> bool:
    """Say whether a process holds the folder of a run."""
    descriptor = _lock(run_dir, exclusive=False)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def _parsed(run_dir: str | Path) -> dict[str, Any]:
    try:
        return json.loads((Path(run_dir) / FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return {}


def _lock(run_dir: str | Path, exclusive: bool) -> int | None:
    # The kernel drops the lock with the process, however it dies: a pid in a file would stay.
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        return os.open(os.devnull, os.O_RDONLY)
    descriptor = os.open(run_dir, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _all(log_dir: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for pattern in ("*/runs/*", "*/multiruns/*/*"):
        for path in log_dir.glob(f"{pattern}/{FILE}"):
            with suppress(OSError):  # not ours to read
                if entry := read(path.parent):
                    yield path.parent, entry
