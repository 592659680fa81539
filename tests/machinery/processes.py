"""Start real trainings of the project as commands, and read what they leave."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROJECT = Path(os.environ["PROJECT"]).resolve()
TRAIN = (sys.executable, "src/train.py")
QUICK = (
    *(
        "data=digits",
        "model/net=dense",
        "callbacks=default",
        "logger=none",
        "trainer=cpu",
        "seed=1",
    ),
    *("~callbacks.callback_images", "~callbacks.callback_batch", "~callbacks.confusion_matrix"),
)


def start(log_dir: Path, *arguments: str, command: tuple[str, ...] = TRAIN) -> Any:
    """Start a training that logs to `log_dir`; its output is in `log_dir/output.txt`."""
    log_dir.mkdir(parents=True, exist_ok=True)
    with (log_dir / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [*command, *QUICK, f"paths.log_dir={log_dir}", *arguments],
            cwd=PROJECT,
            stdout=output,
            stderr=output,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )


def run(log_dir: Path, *arguments: str, command: tuple[str, ...] = TRAIN, code: int = 0) -> str:
    """Run a training to its end; return its output."""
    process = start(log_dir, *arguments, command=command)
    found = process.wait(600)
    output = (log_dir / "output.txt").read_text()
    assert found == code, output
    return output


def wait_for(condition: Callable[[], Any], seconds: float = 120) -> Any:
    """Return what a condition returns once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise TimeoutError(f"{condition} did not become true in {seconds} seconds")


def run_folders(log_dir: Path) -> list[Path]:
    """Return the folders of all runs below `log_dir`."""
    return sorted(path.parent for path in log_dir.rglob("run.json"))


def record(run_dir: Path) -> dict[str, Any]:
    """Return what `run.json` says."""
    found: dict[str, Any] = json.loads((run_dir / "run.json").read_text())
    return found


def epochs_logged(run_dir: Path) -> int:
    """Return how many epochs of training have reached `metrics.jsonl`."""
    path = run_dir / "metrics.jsonl"
    return path.read_text().count('"train/acc"') if path.exists() else 0
