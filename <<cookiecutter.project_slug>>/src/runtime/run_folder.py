"""The folder of a run: its name, who owns it, and its record `run.json`.

A process owns a folder by the newest of its claim files, `.claim.1`, `.claim.2`, ..., which only
one process can create (`O_EXCL`, no file lock), and keeps its modification time fresh. On the same
host the process decides whether the owner is alive; on another host the age of that time does,
measured against a file just touched in the same folder, since clocks differ.

`docs/resume.md` lists the keys of `run.json`. Imports no torch: reports read thousands of these.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from src.runtime.project import ConfigError, read_json, register_resolver, write_json

RECORD = "run.json"
CLAIM = ".claim"
LAST_CHECKPOINT = "last.ckpt"
HEARTBEAT_SECONDS = 5.0
DEAD_SECONDS = 60.0  # without a heartbeat, an owner on another host counts as dead


class RunIsActive(ConfigError):
    """Another process owns the folder."""


class Claim:
    """Ownership of a folder, kept alive by a heartbeat until `release`.

    Args:
        path: the claim file that this process created.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = int(path.suffix[1:])
        self._ended = threading.Event()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    @classmethod
    def acquire(cls, folder: str | Path, name: str = CLAIM) -> "Claim":
        """Take over a folder that no live process owns; it is created if missing.

        Raises:
            RunIsActive: if a live process owns it, or another process was faster.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if owner := active_owner(folder, name):
            raise RunIsActive(
                f"{folder} is in use: process {owner['pid']} on {owner['host']}, last seen "
                f"{owner['seconds']:.0f} seconds ago. Wait for it to end, or end it first"
            )
        newest = _newest_claim(folder, name)
        number = int(newest.suffix[1:]) + 1 if newest else 1
        path = folder / f"{name}.{number}"
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError as error:
            raise RunIsActive(f"{folder} was taken by another process just now") from error
        pid = os.getpid()
        owner = {"host": socket.gethostname(), "pid": pid, "process_start": _process_start(pid)}
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(owner, file)
        return cls(path)

    def lost(self) -> bool:
        """Return whether another process has taken over, say while this one was suspended."""
        return self.path.with_suffix(f".{self.number + 1}").exists()

    def release(self) -> None:
        """Give up the folder; the file stays, so that numbers count the starts."""
        self._ended.set()
        with suppress(OSError):
            self.path.write_text("{}", encoding="utf-8")

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):  # a file system that is away for a while
                os.utime(self.path)


def active_owner(folder: str | Path, name: str = CLAIM) -> dict[str, Any] | None:
    """Return host, pid and seconds since the last heartbeat of a folder's live owner, or None."""
    path = _newest_claim(Path(folder), name)
    owner = read_json(path) if path else {}
    if path is None or not owner:
        # The file is empty for an instant before its creator has written to it.
        recent = path is not None and path.stat().st_size == 0 and _age(path) < 1
        return {"host": "unknown", "pid": "?", "seconds": 0.0} if recent else None
    age = _age(path)
    if owner["host"] == socket.gethostname():
        alive = _process_start(owner["pid"]) == owner["process_start"]
    else:
        alive = age < DEAD_SECONDS
    return {"host": owner["host"], "pid": owner["pid"], "seconds": age} if alive else None


def read_run(run_dir: str | Path) -> dict[str, Any] | None:
    """Return the record of a run, or None if the folder holds none.

    A run whose process disappeared is returned as `killed`.
    """
    record = read_json(Path(run_dir) / RECORD)
    if record.get("status") == "running" and not active_owner(run_dir):
        reason = "process disappeared (no final status was written)"
        record |= {"status": "killed", "error": reason}
    return record or None


def write_run(run_dir: str | Path, **changes: Any) -> None:
    """Change keys of the record of a run; it is created if missing.

    Raises:
        OSError: if it cannot be written.
    """
    path = Path(run_dir) / RECORD
    write_json(path, read_json(path) | changes)


def list_runs(
    log_dir: str | Path, task: str | None = None, sweep: str | None = None
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield folder and record of each run; of one task, or of one sweep, where it is given."""
    task_folder = task or "*"
    patterns = [f"{task_folder}/multiruns/{sweep or '*'}/*/{RECORD}"]
    if sweep is None:
        patterns.append(f"{task_folder}/runs/*/{RECORD}")
    for pattern in patterns:
        for path in Path(log_dir).glob(pattern):
            with suppress(OSError):  # not readable by this user
                if record := read_run(path.parent):
                    yield path.parent, record


def newest_run(
    log_dir: str | Path, is_wanted: Callable[[Path, dict[str, Any]], bool]
) -> Path | None:
    """Return the folder of the run that started last among the wanted ones, or None."""
    found = [
        (str(record.get("started")), run_dir)
        for run_dir, record in list_runs(log_dir)
        if is_wanted(run_dir, record)
    ]
    return max(found)[1] if found else None


def find_checkpoint(value: str, log_dir: str | Path, key: str = "ckpt_path") -> Path:
    """Return the checkpoint file to take weights from.

    Args:
        value: a file; a run folder (its best checkpoint); `best` or `last` of the newest run that
            has checkpoints.
        log_dir: where the runs are.
        key: of the configuration, which holds the value; named in errors.

    Raises:
        ConfigError: if there is no such checkpoint.
    """
    path = Path(value).expanduser()
    if path.is_file():
        return path
    run_dir: Path | None = path if path.is_dir() else None
    if value in ("best", "last"):
        run_dir = newest_run(log_dir, lambda folder, _: bool(checkpoints_of(folder)))
        if run_dir is None:
            raise ConfigError(f"{key}={value}: no run in {log_dir} has a checkpoint")
    if run_dir is None:
        forms = "a .ckpt file, a run folder, last or best"
        raise ConfigError(f"{key}={value} does not exist: give {forms}")
    found = checkpoints_of(run_dir)
    if not found:
        raise ConfigError(f"{key}={value}: there is no checkpoint in {run_dir}")
    best = (read_run(run_dir) or {}).get("best_checkpoint")
    if value != "last" and best and (run_dir / best).is_file():
        return run_dir / best
    return found[0]


def checkpoints_of(run_dir: str | Path) -> list[Path]:
    """Return the checkpoints of a run, `last.ckpt` first, then the newest first."""
    found = list(Path(run_dir, "checkpoints").glob("*.ckpt"))
    return sorted(found, key=lambda path: (path.name != LAST_CHECKPOINT, -path.stat().st_mtime))


def now() -> str:
    """Return the time as ISO 8601 with time zone, to the millisecond."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def new_run_id(log_dir: str = "", task_name: str = "") -> str:
    """Return a name for a run's folder that sorts by time and that no other run has.

    All processes that torchrun or srun starts for one run get the same name. A SLURM job that was
    requeued gets the folder back in which it had not finished.
    """
    unique = secrets.token_hex(4)
    job, step = os.environ.get("SLURM_JOB_ID"), os.environ.get("SLURM_STEP_ID", "batch")
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return _agreed_under_torchrun(f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{unique}")
    if job is None:
        return f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{unique}"
    if int(os.environ.get("SLURM_NTASKS", 1)) > 1 and "SLURM_PROCID" in os.environ:
        return f"slurm_{job}.{step}"  # a step of several processes is one run
    if int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0:
        for folder in sorted(Path(log_dir, task_name, "runs").glob(f"slurm_{job}.{step}_*")):
            record = read_run(folder)
            if record is None or record["status"] in ("failed", "killed"):
                return folder.name
    return f"slurm_{job}.{step}_{unique}"


def current_run_dir(log_dir: str, task_name: str) -> str:
    """Return the folder that Hydra made for this run; outside of Hydra, the path of a new one."""
    if HydraConfig.initialized():
        cfg: Any = HydraConfig.instance().cfg
        folder = OmegaConf.select(cfg, "hydra.runtime.output_dir")
        if folder is not None:
            return str(folder)
    return str(Path(log_dir, task_name, "runs", new_run_id(log_dir, task_name)))


def register_resolvers() -> None:
    """Register `${run_id:LOG_DIR,TASK}` and `${run_dir:LOG_DIR,TASK}`.

    They are cached: each occurrence in a configuration, and in all jobs of a sweep, is the same.
    """
    register_resolver("run_id", new_run_id, use_cache=True, replace=True)
    register_resolver("run_dir", current_run_dir, use_cache=True, replace=True)


def _agreed_under_torchrun(proposal: str) -> str:
    from torch.distributed import TCPStore  # seconds, but a torchrun trains anyway

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(address, port, is_master=False)
    return store.compare_set("run_id", "", proposal).decode()


def _newest_claim(folder: Path, name: str) -> Path | None:
    claims = [path for path in folder.glob(f"{name}.*") if path.suffix[1:].isdigit()]
    return max(claims, key=lambda path: int(path.suffix[1:]), default=None)


def _age(path: Path) -> float:
    """Return the seconds since a file was touched, by the clock of its file system."""
    probe = path.with_name(f".now.{secrets.token_hex(4)}")
    try:
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
    except OSError:  # a folder that only others may write to
        now = time.time()
    return now - path.stat().st_mtime


def _process_start(pid: int) -> str | None:
    """Return what tells a process from a later one with the same id; None if there is none."""
    try:
        # In ticks since the machine started: unlike a time, it does not move with the clock.
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        state, *fields = status.rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]  # ended, and only not collected yet
    except OSError:
        with suppress(psutil.Error):
            return f"{psutil.Process(pid).create_time():.0f}"
    return None
