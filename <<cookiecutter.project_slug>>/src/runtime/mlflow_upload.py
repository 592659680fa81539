"""The process that brings the runs of one `logs/` to MLflow, and what runs ask of it.

    python -m src.runtime.mlflow_upload LOG_DIR

A run starts it unless it is there, and appends its folder to `logs/.uploader.queue`. It works
beside the runs, with their lowest priority, and ends when none is left; killed, it is replaced by
the next run or by `src/sync.py`, which go on where it stopped. The claim `logs/.uploader.<n>` says
that it is alive.
"""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from src.runtime.files import read_json
from src.runtime.mlflow_run import (
    DESCRIPTION,
    METRICS,
    STATE,
    Upload,
    is_delivered,
    without_password,
)
from src.runtime.project import PROJECT_ROOT, command
from src.runtime.run_folder import Claim, RunIsActive, active_owner

CLAIM, QUEUE, OUTPUT = ".uploader", ".uploader.queue", ".uploader.log"
PLACES = ("", "*/", "*/*/", "runs/*/", "multiruns/*/*/", "*/runs/*/", "*/multiruns/*/*/")
POLL_SECONDS, LINGER_SECONDS = 1.0, 20.0
ENVIRONMENT = {  # an attempt that fails costs seconds; the next one is ours
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "OMP_NUM_THREADS": "1",
}

_started: list[Any] = []  # processes: Python warns when it collects one that still runs


def described_runs(path: str | Path) -> list[Path]:
    """Return the folders of runs for MLflow: `path`, or those of a sweep, a task, `logs/`."""
    found = (file for place in PLACES for file in Path(path).glob(place + DESCRIPTION))
    return sorted({file.parent for file in found})


def request_upload(*run_dirs: Path) -> None:
    """Tell the uploader about runs of one `logs/`; start one if none is alive.

    Raises:
        OSError: if that folder cannot be written, or no process be started.
    """
    log_dir = log_dir_of(run_dirs[0])
    with (log_dir / QUEUE).open("a", encoding="utf-8") as queue:
        queue.writelines(f"{run_dir}\n" for run_dir in run_dirs)
    if active_owner(log_dir, CLAIM):
        return
    with (log_dir / OUTPUT).open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "src.runtime.mlflow_upload", str(log_dir)],
            cwd=PROJECT_ROOT,
            env=ENVIRONMENT | os.environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # neither Ctrl-C nor the end of the run is for it
        )
    _started.append(process)


def log_dir_of(run_dir: Path) -> Path:
    """Return the `logs/` that a run is in; its own folder if it lies elsewhere."""
    if run_dir.parent.name == "runs":
        return run_dir.parent.parent.parent
    sweeps = run_dir.parent.parent
    return sweeps.parent.parent if sweeps.name == "multiruns" else run_dir


def follow(log_dir: Path) -> bool:
    """Upload the runs below a folder until none is active, and MLflow has all or does not answer.

    Returns:
        Whether a run came too late to be noticed.

    Raises:
        RunIsActive: if another process does this.
    """
    claim = Claim.acquire(log_dir, CLAIM)
    for old in log_dir.glob(f"{CLAIM}.*[0-9]"):
        if int(old.suffix[1:]) < claim.number - 9:
            old.unlink(missing_ok=True)
    queue = (log_dir / QUEUE).open("a+", encoding="utf-8")  # at its end: the rest is found below
    pending = {path: Upload(path) for path in described_runs(log_dir) if not is_delivered(path)}
    last_activity = time.monotonic()
    while not claim.lost() and time.monotonic() - last_activity < LINGER_SECONDS:
        for line in queue:
            path = Path(line.strip())
            pending[path] = pending.pop(path, None) or Upload(path)
        is_active = False
        failed: set[str] = set()  # stores, which not each run shall wait for
        for path, upload in reversed(list(pending.items())):  # the newest first
            store = read_json(path / DESCRIPTION).get("tracking_uri")
            if store is None:
                continue
            is_active |= upload.is_running()
            if store in failed:
                continue
            try:
                if upload.send():
                    del pending[path]
                    is_active = True
            except Exception as error:  # any: the store, its driver, the network, the disk
                print(f"{path}: {without_password(repr(error))}", flush=True)
                failed.add(store)
        if is_active:
            last_activity = time.monotonic()
        time.sleep(POLL_SECONDS)
    claim.release()
    return bool(queue.readline())


def wait_for_upload(path: str | Path, patience: float = 15.0) -> str:
    """Wait until MLflow has what an ended run, or the jobs of a sweep, have logged.

    Args:
        path: folder of the run or of the sweep.
        patience: seconds without progress after which to give up.

    Returns:
        What `describe_upload` says then.
    """
    waiting = [
        run_dir
        for run_dir in described_runs(path)
        if not is_delivered(run_dir) and not Upload(run_dir).is_running()
    ]
    if waiting:
        with suppress(OSError):  # a full disk; then nothing arrives, and the line says so
            request_upload(*waiting)
    progress, since = None, time.monotonic()
    while waiting:
        states = [read_json(run_dir / STATE) for run_dir in waiting]
        arrived = [(state.get("offset"), len(state.get("files", ()))) for state in states]
        if arrived != progress:
            progress, since = arrived, time.monotonic()
        # MLflow takes seconds to import and to create a database; that is no failure yet.
        is_failing = any(state.get("error") for state in states)
        if time.monotonic() - since > (patience if is_failing else 3 * patience):
            break
        time.sleep(0.2)
        waiting = [run_dir for run_dir in waiting if not is_delivered(run_dir)]
    return describe_upload(path)


def describe_upload(path: str | Path) -> str:
    """Return a line on what MLflow has received of a run or of a sweep, and on what not.

    It names what MLflow knows by another name or refused, and the command that sends the rest. It
    is empty if nothing is meant for MLflow.
    """
    run_dirs = described_runs(path)
    if not run_dirs:
        return ""
    states = [read_json(run_dir / STATE) for run_dir in run_dirs]
    uri = read_json(run_dirs[-1] / DESCRIPTION)["tracking_uri"]
    line = f"MLflow at {uri} has everything that was logged"
    if not all(map(is_delivered, run_dirs)):
        sizes = [file.stat().st_size for run in run_dirs if (file := run / METRICS).exists()]
        share = sum(state.get("offset", 0) for state in states) / max(sum(sizes), 1)
        reason = next((f" ({state['error']})" for state in states if state.get("error")), "")
        line = f"MLflow at {uri} has {share:.0%} of the metrics so far{reason}. "
        line += f"To send the rest: {command('src/sync.py', str(path))}"
    rejected = {k: why for state in states for k, why in state.get("rejected", {}).items()}
    names = {k: v for state in states for k, v in state.get("names", {}).items() if k != v}
    if rejected:
        line += ". It refused " + "; ".join(f"{name!r}: {why}" for name, why in rejected.items())
    if names:
        line += ". Renamed: " + ", ".join(f"{k[:60]!r} to {v[:60]!r}" for k, v in names.items())
    return line


def run_page(run_dir: str | Path, server: str | None = None) -> str | None:
    """Return the address of a run's curves and pictures in MLflow; None while it has none.

    Args:
        run_dir: folder of the run.
        server: of the page; by default the run's own, if its store is a server.
    """
    state = read_json(Path(run_dir) / STATE)
    server = server or state.get("uri", "")
    if "run_id" not in state or not server.startswith("http"):
        return None
    run = f"#/experiments/{state['experiment_id']}/runs/{state['run_id']}"
    return f"{server.rstrip('/')}/{run}/model-metrics?workflowType=machine_learning"


def main() -> None:
    """Follow the runs of the folder that the command line names."""
    if hasattr(os, "nice"):
        os.nice(5)  # training goes first
    with suppress(RunIsActive):
        while follow(Path(sys.argv[1])):
            pass


if __name__ == "__main__":
    main()
