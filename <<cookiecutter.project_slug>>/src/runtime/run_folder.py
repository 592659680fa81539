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
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from src.runtime.project import ConfigError, read_json, register_resolver, write_json

RECORD = "run.json"
JOB = "job.json"  # in the folder of a sweep's job: the overrides that it belongs to
CLAIM = ".claim"
LAST_CHECKPOINT = "last.ckpt"
HEARTBEAT_SECONDS = 5.0
DEAD_SECONDS = 60.0  # without a heartbeat, an owner on another host counts as dead
CLOCK_SECONDS = 2.0  # by which what is read as the start of a process may vary


class RunIsActive(ConfigError):
    """Error for a folder that belongs to another live process."""


class Claim:
    """Ownership of a folder, kept alive by a heartbeat until it is released.

    Args:
        path: the claim file that this process created.
        owner: its content.
    """

    def __init__(self, path: Path, owner: dict[str, Any]) -> None:
        self.path, self.owner = path, owner
        self.number = int(path.suffix[1:])
        self._ended = threading.Event()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    @classmethod
    def acquire(cls, folder: str | Path, name: str = CLAIM) -> "Claim":
        """Claim a folder that no live process owns, and create it if missing.

        Raises:
            RunIsActive: if a live process owns it, or another process was faster.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # Before the check: of two processes that see the same dead owner, one gets this number.
        path = folder / f"{name}.{_newest_claim(folder, name) + 1}"
        raise_if_active(folder, name)
        pid = os.getpid()
        owner = {"host": socket.gethostname(), "pid": pid, "process_start": _process_start(pid)}
        try:
            with path.open("x", encoding="utf-8") as file:  # O_CREAT | O_EXCL
                json.dump(owner, file)
        except FileExistsError as error:
            raise RunIsActive(f"{folder} was taken by another process just now") from error
        return cls(path, owner)

    def is_lost(self) -> bool:
        """Return whether another process has claimed the folder since this claim was acquired."""
        return self.path.with_suffix(f".{self.number + 1}").exists()

    def release(self) -> None:
        """Release the folder, but keep the claim file."""
        self._ended.set()
        with suppress(OSError):
            if read_json(self.path) == self.owner:  # else somebody has deleted the folder meanwhile
                self.path.write_text('{"released": true}', encoding="utf-8")

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):  # a file system that is away for a while
                os.utime(self.path)


def active_owner(folder: str | Path, name: str = CLAIM) -> dict[str, Any] | None:
    """Return host, process id and heartbeat age of a folder's live owner, or None."""
    number = _newest_claim(Path(folder), name)
    path = Path(folder, f"{name}.{number}")
    # The file is empty for an instant before its creator has written to it.
    owner: dict[str, Any] = {"host": "unknown", "pid": "?"} | read_json(path)
    if number == 0 or "released" in owner:
        return None
    owner["seconds"] = round(_age(path))
    if owner["host"] == socket.gethostname():
        start = _process_start(owner["pid"])
        is_alive = start is not None and abs(start - owner["process_start"]) < CLOCK_SECONDS
    else:
        is_alive = owner["seconds"] < DEAD_SECONDS
    return owner if is_alive else None


def raise_if_active(folder: str | Path, name: str = CLAIM) -> None:
    """Raise RunIsActive if a live process owns the folder."""
    if owner := active_owner(folder, name):
        who = f"process {owner['pid']} on {owner['host']}"
        raise RunIsActive(f"{folder} is in use: {who}, last seen {owner['seconds']} seconds ago")


def read_run(run_dir: str | Path) -> dict[str, Any]:
    """Return the contents of `run.json`, or {} if there is none.

    A run whose process disappeared is returned as `killed`.
    """
    record = read_json(Path(run_dir) / RECORD)
    if record.get("status") == "running" and not active_owner(run_dir):
        record |= {"status": "killed", "error": "process disappeared (no final status was written)"}
    return record


def update_run(run_dir: str | Path, **changes: Any) -> None:
    """Update keys of `run.json`, and create the file if missing.

    Raises:
        OSError: if it cannot be written.
    """
    path = Path(run_dir) / RECORD
    write_json(path, read_json(path) | changes)


def run_dirs_and_records_below(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield a (run_dir, record) pair for each run below a folder, unstarted jobs included."""
    for path in folder.glob("[!.]*"):  # nothing hidden
        with suppress(PermissionError):  # of another user
            if record := read_run(path) or read_json(path / JOB):
                yield path, {"status": "not started", **record}
            elif path.is_dir():
                yield from run_dirs_and_records_below(path)


def run_dirs_and_records_newest_first(log_dir: str | Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return a (run_dir, record) pair for each run in `logs/`, newest first."""
    folders = Path(log_dir).glob("*/*runs")  # runs and multiruns of each task
    found = [run for folder in folders for run in run_dirs_and_records_below(folder)]
    return sorted(found, key=lambda run: str(run[1].get("started")), reverse=True)


def find_checkpoint(value: str, log_dir: str | Path, key: str = "ckpt_path") -> Path:
    """Return the path of the checkpoint that `ckpt_path` or `init_from` refers to.

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
    folders = [path]
    if value in ("best", "last"):
        folders = [run_dir for run_dir, _ in run_dirs_and_records_newest_first(log_dir)]
    for folder in folders:
        if found := checkpoints_newest_first(folder):
            best = folder / str(read_run(folder).get("best_checkpoint"))
            return best if value != "last" and best.is_file() else found[0]
    raise ConfigError(f"{key}={value} does not exist, or has no checkpoint: give a file or a run")


def checkpoints_newest_first(run_dir: str | Path) -> list[Path]:
    """Return the checkpoint paths of a run: `last.ckpt`, then the others, newest first."""
    found = list(Path(run_dir, "checkpoints").glob("*.ckpt"))
    return sorted(found, key=lambda path: (path.name != LAST_CHECKPOINT, -path.stat().st_mtime))


def iso_now() -> str:
    """Return the current time in ISO 8601 format, with time zone and milliseconds."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def new_run_id(log_dir: str = "", task_name: str = "") -> str:
    """Return a unique run id that sorts by time.

    All processes that torchrun or srun starts for one run get the same name. A SLURM job that was
    requeued gets the folder back in which it had not finished.
    """
    unique = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{secrets.token_hex(4)}"
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return _agreed_under_torchrun(unique)
    if "SLURM_JOB_ID" not in os.environ:
        return unique
    job = f"slurm_{os.environ['SLURM_JOB_ID']}.{os.environ.get('SLURM_STEP_ID', 'batch')}"
    if int(os.environ.get("SLURM_NTASKS", 1)) > 1 and "SLURM_PROCID" in os.environ:
        return job  # a step of several processes is one run
    if int(os.environ.get("SLURM_RESTART_COUNT", 0)) > 0:
        for folder in sorted(Path(log_dir, task_name, "runs").glob(f"{job}_*")):
            record = read_run(folder)
            if not record or record["status"] in ("failed", "killed"):
                return folder.name
    return f"{job}_{unique}"


def current_or_new_run_dir(log_dir: str, task_name: str) -> str:
    """Return Hydra's output folder, or a new path when Hydra is not running."""
    cfg: Any = HydraConfig.instance().cfg
    folder = OmegaConf.select(cfg, "hydra.runtime.output_dir") if cfg else None
    return folder or str(Path(log_dir, task_name, "runs", new_run_id(log_dir, task_name)))


def register_run_resolvers() -> None:
    """Register the OmegaConf resolvers `run_id` and `run_dir`.

    They are cached: each occurrence in a configuration, and in all jobs of a sweep, is the same.
    """
    register_resolver("run_id", new_run_id, use_cache=True, replace=True)
    register_resolver("run_dir", current_or_new_run_dir, use_cache=True, replace=True)


def _agreed_under_torchrun(proposal: str) -> str:
    from torch.distributed import TCPStore  # seconds, but a torchrun trains anyway

    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False)
    return store.compare_set("run_id", "", proposal).decode()


def _newest_claim(folder: Path, name: str) -> int:
    """Return the number of the newest claim file in a folder, 0 if there is none."""
    return max((int(path.suffix[1:]) for path in folder.glob(f"{name}.[0-9]*")), default=0)


def _age(path: Path) -> float:
    """Return the seconds since a file was touched, by the clock of its file system."""
    try:
        with tempfile.TemporaryFile(dir=path.parent) as probe:
            now = os.fstat(probe.fileno()).st_mtime
    except OSError:  # a folder that only others may write to
        now = time.time()
    return now - path.stat().st_mtime


def _process_start(pid: int) -> float | None:
    """Return what tells a process from a later one of the same id, None if there is none.

    Seconds since the machine started: unlike a time, they do not move with the clock.
    """
    try:
        process, boot = psutil.Process(pid), psutil.boot_time()
        has_ended = process.status() == psutil.STATUS_ZOMBIE  # only not collected yet
        return None if has_ended else process.create_time() - boot
    except psutil.Error:
        return None
