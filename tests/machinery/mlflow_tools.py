"""Runs written by hand, a real MLflow server, and what a store holds of a run."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from src.runtime.mlflow_run import DESCRIPTION, METRICS, STATE, storable_uri
from src.runtime.project import read_json, write_json
from src.runtime.run_folder import Claim, iso_now, update_run

History = dict[str, list[tuple[int, float]]]


class HandWrittenRun:
    """A run folder as a training run leaves it, step by step, without training."""

    def __init__(
        self,
        folder: Path,
        uri: str,
        claimed: bool = True,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        **about: Any,
    ) -> None:
        self.dir = folder
        self.rows: list[dict[str, Any]] = []
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text("seed: 1\n")
        environment = {"command": "python src/train.py", "git_commit": "abc"}
        update_run(folder, status="running", started=iso_now(), environment=environment)
        self.claim = Claim.acquire(folder) if claimed else None
        description = {
            "key": os.urandom(4).hex(),
            "experiment_name": "by_hand",
            "run_name": folder.name,
            "tracking_uri": storable_uri(uri),
        }
        write_json(folder / DESCRIPTION, description | about)
        if params or tags:
            self.log(0, {}, params=params or {}, tags=tags or {})

    def log(
        self, step: int, metrics: Mapping[str, float], at: int | None = None, **more: Any
    ) -> None:
        """Append a row."""
        row = {"time": at or int(time.time() * 1000), "step": step, "metrics": dict(metrics)}
        row |= more
        self.rows.append(row)
        with (self.dir / METRICS).open("a") as file:
            file.write(json.dumps(row) + "\n")

    def log_steps(self, steps: range) -> None:
        """Append a row for each step."""
        for step in steps:
            self.log(step, {"train/loss": 1 / (1 + step), "epoch": step // 100})

    def end(self, status: str = "finished", **record: Any) -> None:
        """Record how it ended."""
        update_run(self.dir, status=status, ended=iso_now(), **record)
        if self.claim:
            self.claim.release()

    def history(self) -> History:
        """Return what was logged, sorted."""
        found: History = {}
        for row in self.rows:
            for name, value in row["metrics"].items():
                found.setdefault(name, []).append((row["step"], value))
        return {name: sorted(values) for name, values in found.items()}


def client_of(uri: str) -> Any:
    """Return MLflow's client of a store."""
    from mlflow import MlflowClient

    return MlflowClient(uri)


def stored_run(uri: str, folder: Path) -> Any:
    """Return MLflow's run of a folder."""
    return client_of(uri).get_run(read_json(folder / STATE)["run_id"])


def stored_history(uri: str, folder: Path) -> History:
    """Return steps and values of each metric that a store holds of a run, sorted."""
    client, run = client_of(uri), stored_run(uri, folder)
    return {
        name: sorted((m.step, m.value) for m in client.get_metric_history(run.info.run_id, name))
        for name in run.data.metrics
    }


def stored_files(uri: str, folder: Path, below: str | None = None) -> list[str]:
    """Return the paths of the files that a store holds of a run."""
    run_id = read_json(folder / STATE)["run_id"]
    found = []
    for file in client_of(uri).list_artifacts(run_id, below):
        found += stored_files(uri, folder, file.path) if file.is_dir else [file.path]
    return found


def wait_until(condition: Callable[[], object], seconds: float = 120) -> None:
    """Wait, and fail if the condition does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


class Server:
    """A real `mlflow server`, which can be killed, stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"),
            *("--artifacts-destination", str(self.folder / "artifacts")),
        ]
        settings = {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        with (self.folder / "server.log").open("a") as output:
            self.process = subprocess.Popen(
                command,
                env=os.environ | settings,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        wait_until(self.answers, 300)

    def answers(self) -> bool:
        """Return whether it answers within two seconds."""
        with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:
            return answer.status == 200
        return False

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes."""
        if self.process is not None:
            os.killpg(self.process.pid, number)
            if number == signal.SIGKILL:
                self.process.wait()
                self.process = None
