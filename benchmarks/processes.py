"""Run one side of a comparison in a process of its own, on a terminal, and read its stopwatch."""

import json
import os
import pty
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIDES = Path(__file__).parent / "sides"
WATCH = "+callbacks.stopwatch._target_=src.callbacks.lightning_stopwatch.LightningStopwatch"

Lines = list[dict[str, Any]]


@dataclass
class Runner:
    """Where the sides run, and on what."""

    project: Path
    data_dir: Path
    scratch: Path
    accelerator: str
    quick: bool
    match: str = ""  # a regular expression: of the combinations, only those whose names it finds

    def __post_init__(self) -> None:
        """Add the stopwatch to a copy of the project, which builds only what lies in its src."""
        copy = self.scratch / "project"
        for part in ("src", "configs"):
            shutil.copytree(self.project / part, copy / part)
        shutil.copy(SIDES / "lightning_stopwatch.py", copy / "src" / "callbacks")
        self.project = copy

    def train(self, *overrides: str, data_dir: Path | None = None) -> Lines:
        """Run the project's own command, everything on."""
        return self.run(
            "src/train.py",
            *[o for o in overrides if o == "-m"],
            "experiment=mon_experience",
            f"trainer.accelerator={self.accelerator}",
            f"paths.data_dir={data_dir or self.data_dir}",
            f"paths.log_dir={self.scratch}/logs",
            "trainer.min_epochs=1",
            WATCH,
            *[o for o in overrides if o != "-m"],
        )

    def side(self, name: str, *arguments: str, data_dir: Path | None = None) -> Lines:
        """Run one of the scripts in `sides/`."""
        settings = (str(data_dir or self.data_dir), "--accelerator", self.accelerator)
        return self.run(str(SIDES / f"{name}.py"), *settings, *arguments)

    def run(self, *arguments: str) -> Lines:
        """Run Python; return the lines of its stopwatch, each with `launched`, in epoch seconds.

        Raises:
            RuntimeError: with the end of its output, if it fails.
        """
        lines = self.scratch / "stopwatch.jsonl"
        lines.unlink(missing_ok=True)
        environment = os.environ | {
            "STOPWATCH": str(lines),
            "PYTHONPATH": os.pathsep.join([str(self.project), str(SIDES)]),
        }
        launched = time.time()
        with utilisation(self.accelerator) as busy:
            code, output = on_a_terminal([sys.executable, *arguments], self.project, environment)
        if code != 0:
            raise RuntimeError(f"exit code {code}: {' '.join(arguments)}\n{output[-3000:]}")
        if not lines.exists():
            return [{"launched": launched, "seconds": time.time() - launched}]
        return [
            {"launched": launched, "busy": busy} | json.loads(x)
            for x in lines.read_text().splitlines()
        ]


@contextmanager
def utilisation(accelerator: str) -> Generator[list[float]]:
    """Sample each second how busy the GPU is, in percent, while the `with` lasts.

    No sample is taken where `nvidia-smi` is missing, or does not know: of a part of a divided card.
    """
    samples: list[float] = []
    done = threading.Event()

    def sample() -> None:
        query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not done.wait(1):
            answer = subprocess.run(query, capture_output=True, text=True, check=False).stdout
            samples.extend(float(percent) for percent in answer.split()[:1] if percent.isdigit())

    thread = threading.Thread(target=sample)
    if accelerator == "gpu" and shutil.which("nvidia-smi"):
        thread.start()
    try:
        yield samples
    finally:
        done.set()
        if thread.is_alive():
            thread.join()


def on_a_terminal(command: list[str], cwd: Path, environment: dict[str, str]) -> tuple[int, str]:
    """Run a command whose output is a terminal, so that it draws its progress bar."""
    here, there = pty.openpty()
    process = subprocess.Popen(
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=there, stderr=there
    )
    os.close(there)
    output: list[bytes] = []

    def read() -> None:
        try:
            while chunk := os.read(here, 65536):
                output.append(chunk)
        except OSError:  # the other end was closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    code = process.wait()
    reader.join(timeout=5)
    os.close(here)
    return code, b"".join(output).decode(errors="replace")
