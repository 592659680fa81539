"""The process that brings the runs of one `logs/` to MLflow, and what runs ask of it.

    python -m src.runtime.mlflow_upload LOG_DIR

A run starts it unless it is alive. It works beside the runs and ends when none is left; killed, it
is replaced by the next run or by `src/sync.py`, which continue where it stopped.
"""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from src.runtime.mlflow_run import DESCRIPTION, STATE, RunUploader, is_fully_uploaded
from src.runtime.project import PROJECT_ROOT, read_json, shell_command
from src.runtime.run_folder import Claim, RunIsActive, active_owner, read_run

CLAIM = ".uploader"
POLL_SECONDS, IDLE_ROUNDS = 1.0, 20  # rounds without an active run, after which it ends
# An attempt that fails costs seconds; the next one is ours.
ENVIRONMENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


def mlflow_run_dirs(path: str | Path) -> list[Path]:
    """Return the run folders that contain an `mlflow.json`, at or below a path."""
    places = ("", "*/", "*/*/", "*/*/*/", "*/*/*/*/")
    found = (file for place in places for file in Path(path).glob(place + DESCRIPTION))
    return sorted(file.parent for file in found)


def ensure_uploader_is_running(run_dir: Path) -> None:
    """Start the uploader process for a run's `logs/` folder, unless it is running.

    Raises:
        OSError: if no process can be started.
    """
    log_dir = log_dir_of(run_dir)
    if active_owner(log_dir, CLAIM):
        return
    with (log_dir / f"{CLAIM}.log").open("wb") as output:
        subprocess.Popen(
            [sys.executable, "-m", "src.runtime.mlflow_upload", str(log_dir)],
            cwd=PROJECT_ROOT,
            env=ENVIRONMENT | os.environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # neither Ctrl-C nor the end of the run is for it
        )


def log_dir_of(run_dir: Path) -> Path:
    """Return the `logs/` folder of a run, or the run folder if it lies elsewhere."""
    groups = [parent for parent in run_dir.parents if parent.name in ("runs", "multiruns")]
    return groups[0].parents[1] if groups else run_dir


def upload_runs_until_idle(log_dir: Path) -> None:
    """Upload all runs below a folder until no run is active or makes progress.

    Raises:
        RunIsActive: if another process does this.
    """
    claim = Claim.acquire(log_dir, CLAIM)
    claim.path.with_suffix(f".{claim.number - 2}").unlink(missing_ok=True)  # nobody reads it
    uploads: dict[Path, RunUploader] = {}
    idle_rounds = 0
    while idle_rounds < IDLE_ROUNDS:
        if claim.is_lost() or read_json(claim.path).get("pid") != os.getpid():
            return  # another one is at work, or `logs/` was removed
        started = time.monotonic()
        waiting = [path for path in mlflow_run_dirs(log_dir) if not is_fully_uploaded(path)]
        pause = POLL_SECONDS + 5 * (time.monotonic() - started)  # ten thousand runs: a second
        uploads = {path: uploads.get(path) or RunUploader(path) for path in waiting}
        idle_rounds += 1
        for path, upload in reversed(uploads.items()):  # the newest first
            with suppress(OSError):  # a full disk, a folder that was removed
                upload.upload_new_data()
                if upload.record["status"] == "running" or is_fully_uploaded(path):
                    idle_rounds = 0
        time.sleep(pause)
    claim.release()


def upload_status_after_waiting(path: str | Path, patience: float = 15.0) -> str:
    """Wait a limited time for ended runs to be uploaded; return the status as text.

    Args:
        path: folder of the run or of the sweep.
        patience: seconds to wait while MLflow fails; three times that if it is slow.

    Returns:
        What `upload_status_text` says then.
    """
    ended = [d for d in mlflow_run_dirs(path) if read_run(d).get("status") != "running"]
    if ended:
        with suppress(OSError):  # a full disk; then nothing arrives, and the line says so
            ensure_uploader_is_running(ended[0])
    started = time.monotonic()
    while waiting := [run_dir for run_dir in ended if not is_fully_uploaded(run_dir)]:
        # MLflow takes seconds to import and to create a database; that is no failure yet.
        is_failing = any(read_json(run_dir / STATE).get("error") for run_dir in waiting)
        if time.monotonic() - started > (patience if is_failing else 3 * patience):
            break
        time.sleep(0.2)
    return upload_status_text(path)


def upload_status_text(path: str | Path) -> str:
    """Return the upload status of a run or sweep as text, or an empty string.

    It names what MLflow knows by another name or refused, and the command that sends the rest. It
    is empty if nothing is meant for MLflow.
    """
    run_dirs = mlflow_run_dirs(path)
    if not run_dirs:
        return ""
    states = [read_json(run_dir / STATE) for run_dir in run_dirs]
    line = f"MLflow at {read_json(run_dirs[-1] / DESCRIPTION)['tracking_uri']} has "
    if all(map(is_fully_uploaded, run_dirs)):
        line += "everything that was logged"
    else:
        reason = next((f" ({state['error']})" for state in states if state.get("error")), "")
        rest = shell_command("src/sync.py", str(path))
        line += f"not everything yet{reason}. To send the rest: {rest}"
    for key, title in (("rejected", "It refused"), ("names", "Renamed")):
        pairs = [(k, v) for state in states for k, v in state.get(key, {}).items() if k != v]
        if pairs:
            line += f". {title} " + "; ".join(f"{k[:60]!r} ({v[:90]})" for k, v in pairs)
    return line


def run_page_url(run_dir: str | Path, server: str | None = None) -> str | None:
    """Return the URL of the run's page in MLflow, or None without a server.

    Args:
        run_dir: the run folder.
        server: of the page; by default the run's own, if its store is a server.
    """
    state = read_json(Path(run_dir) / STATE)
    server = server or state.get("uri", "")
    if "run_id" not in state or not server.startswith("http"):
        return None
    run = f"#/experiments/{state['experiment_id']}/runs/{state['run_id']}"
    return f"{server.rstrip('/')}/{run}/model-metrics?workflowType=machine_learning"


if __name__ == "__main__":
    with suppress(RunIsActive):
        upload_runs_until_idle(Path(sys.argv[1]))
