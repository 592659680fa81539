"""A run against a real MLflow server that dies, hangs and comes back: pytest -m server."""

import csv
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from src.runtime.identity import PROJECT_ROOT

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(os.name != "posix", reason="stops and continues processes by signals"),
]

ENVIRONMENT = os.environ | {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "CUDA_VISIBLE_DEVICES": "",
}


def wait_until(condition: Callable[[], object], seconds: float = 90) -> None:
    """Wait, and fail if the condition does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


class Server:
    """A real `mlflow server` with a database of its own, which survives it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
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
        with (self.folder / "server.log").open("a") as output:
            self.process = subprocess.Popen(
                command, env=ENVIRONMENT, stdout=output, stderr=output, start_new_session=True
            )
        wait_until(self.answers)

    def answers(self) -> bool:
        """Whether it answers within a second."""
        with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=1) as answer:
            return answer.status == 200
        return False

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes."""
        if self.process is not None:
            os.killpg(self.process.pid, number)
            if number == signal.SIGKILL:
                self.process.wait()
                self.process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """Yield a server that is not running yet."""
    folder = tmp_path / "server"
    folder.mkdir()
    server = Server(folder)
    yield server
    server.send(signal.SIGKILL)


def start_training(tmp_path: Path, uri: str, *overrides: str) -> subprocess.Popen[str]:
    """Start a run that logs each step, to MLflow and to a CSV file: the record to compare with."""
    command = [
        *(sys.executable, "src/train.py", "data=digits", "trainer.accelerator=cpu"),
        *("common/logger@logger=many_loggers", "~logger.tensorboard", "data.batch_size=16"),
        *("trainer.max_epochs=-1", "+trainer.log_every_n_steps=1", "~callbacks.early_stopping"),
        *(f"paths.log_dir={tmp_path / 'logs'}", "logger.mlflow.patience=5", *overrides),
    ]
    return subprocess.Popen(
        command,
        cwd=PROJECT_ROOT,
        env=ENVIRONMENT | {"MLFLOW_TRACKING_URI": uri},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def written(tmp_path: Path) -> int:
    """Return how many bytes of metrics the run has measured so far."""
    return sum(path.stat().st_size for path in tmp_path.glob("logs/train/runs/*/csv/metrics.csv"))


def assert_every_metric_is_there_once(uri: str, tmp_path: Path) -> None:
    """Compare the CSV file of the only run with the history of each metric in MLflow."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    (run,) = client.search_runs(experiments)
    assert run.info.status == "FINISHED"
    (path,) = tmp_path.glob("logs/train/runs/*/csv/metrics.csv")
    measured: dict[str, list[tuple[int, float]]] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            step = int(row.pop("step"))
            for name, value in row.items():
                if value:
                    measured.setdefault(name, []).append((step, float(value)))
    assert sum(map(len, measured.values())) > 1_000
    for name, values in measured.items():
        history = client.get_metric_history(run.info.run_id, name)
        assert sorted((metric.step, metric.value) for metric in history) == sorted(values), name


def test_a_server_is_killed_restarted_and_stopped_during_a_run(
    server: Server, tmp_path: Path
) -> None:
    server.start()
    training = start_training(tmp_path, server.uri, "+trainer.max_time=00:00:01:00")
    for _ in range(2):  # while it runs, then again after the restart
        wait_until(lambda: written(tmp_path) > 20_000)
    server.send(signal.SIGKILL)
    before = written(tmp_path)
    wait_until(lambda: written(tmp_path) > 2 * before)  # the run trains on
    server.start()
    time.sleep(3)
    server.send(signal.SIGSTOP)
    before = written(tmp_path)
    time.sleep(8)
    assert written(tmp_path) > before
    server.send(signal.SIGCONT)
    output, _ = training.communicate(timeout=180)
    assert training.returncode == 0, output
    assert output.count("does not take the records") <= 2, output
    assert "has everything that was logged" in output
    assert_every_metric_is_there_once(server.uri, tmp_path)


def test_what_could_not_be_delivered_is_uploaded_later_and_once(
    server: Server, tmp_path: Path
) -> None:
    start = time.monotonic()
    training = start_training(tmp_path, server.uri, "+trainer.max_steps=2000")
    wait_until(lambda: written(tmp_path) > 0)
    output, _ = training.communicate(timeout=120)
    assert training.returncode == 0, output
    assert output.count("does not take the records") == 1, output
    assert "Upload it with: python src/sync.py" in output
    sync = [sys.executable, "src/sync.py", str(tmp_path / "logs")]
    down = subprocess.run(sync, cwd=PROJECT_ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert down.returncode == 1
    assert "not uploaded" in down.stdout
    server.start()
    for answer in ("uploaded to", "Nothing to upload"):
        up = subprocess.run(sync, cwd=PROJECT_ROOT, env=ENVIRONMENT, capture_output=True, text=True)
        assert up.returncode == 0, up.stdout
        assert answer in up.stdout
    assert_every_metric_is_there_once(server.uri, tmp_path)
    print(f"{time.monotonic() - start:.0f} s")
