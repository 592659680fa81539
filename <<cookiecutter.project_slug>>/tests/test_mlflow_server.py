"""A run against a real MLflow server that dies, hangs, comes back, is looked at: -m server."""

import csv
import json
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
from tests.browser import EXECUTABLE, browser

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(os.name != "posix", reason="stops and continues processes by signals"),
]

ENVIRONMENT = os.environ | {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "CUDA_VISIBLE_DEVICES": "",
}


def wait_until(condition: Callable[[], object], seconds: float = 300) -> None:
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


class Training:
    """A run that logs each step, to MLflow and to a CSV file: the record to compare with."""

    def __init__(self, tmp_path: Path, uri: str, *overrides: str, callbacks: str = "none") -> None:
        self.logs = tmp_path / "logs"
        self.output = tmp_path / "output.txt"
        command = [
            *(sys.executable, "src/train.py", "data=digits", "data.batch_size=64"),
            *("trainer.accelerator=cpu", "trainer.max_epochs=-1", "+trainer.log_every_n_steps=1"),
            *(f"common/callbacks@callbacks={callbacks}", "common/logger@logger=many_loggers"),
            *(f"paths.log_dir={self.logs}", *overrides),
        ]
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                command,
                cwd=PROJECT_ROOT,
                env=ENVIRONMENT | {"MLFLOW_TRACKING_URI": uri},
                stdout=output,
                stderr=output,
            )

    def written(self) -> int:
        """Return how many bytes of metrics it has measured so far."""
        return sum(path.stat().st_size for path in self.logs.glob("train/runs/*/csv/metrics.csv"))

    def has_a_run(self) -> bool:
        """Whether MLflow knows of it."""
        return any(self.logs.glob("train/runs/*/mlflow/state.json"))

    def is_delivered(self) -> bool:
        """Whether MLflow has got some of what was measured."""
        states = self.logs.glob("train/runs/*/mlflow/state.json")
        return any(json.loads(path.read_text())["offset"] for path in states)

    def end(self, code: int = 0) -> str:
        """Wait until it ends with this code and return what it printed."""
        assert self.process.wait(timeout=500) == code, self.output.read_text()
        return self.output.read_text()


def assert_every_metric_is_there_once(uri: str, training: Training, status: str) -> None:
    """Compare the CSV file of the only run with the history of each metric in MLflow."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    (run,) = client.search_runs(experiments)
    assert run.info.status == status
    (path,) = training.logs.glob("train/runs/*/csv/metrics.csv")
    measured: dict[str, list[tuple[int, float]]] = {}
    with path.open() as file:
        for row in csv.DictReader(file):
            step = int(row.pop("step"))
            for name, value in row.items():
                if value:
                    measured.setdefault(name, []).append((step, float(value)))
    assert sum(map(len, measured.values())) > 200
    for name, values in measured.items():
        history = client.get_metric_history(run.info.run_id, name)
        assert sorted((metric.step, metric.value) for metric in history) == sorted(values), name


def test_a_server_is_killed_restarted_and_stopped_during_a_run(
    server: Server, tmp_path: Path
) -> None:
    server.start()
    training = Training(tmp_path, server.uri, "logger.mlflow.patience=60")
    wait_until(training.has_a_run)
    server.send(signal.SIGKILL)
    before = training.written()
    wait_until(lambda: training.written() > before)  # the run trains on
    server.start()
    wait_until(training.is_delivered)
    server.send(signal.SIGSTOP)
    before = training.written()
    time.sleep(8)  # longer than a request may take
    wait_until(lambda: training.written() > before)
    server.send(signal.SIGCONT)
    before = training.written()
    wait_until(lambda: training.written() > before)
    training.process.terminate()
    output = training.end(143)
    assert output.count("does not take the records") <= 2, output
    assert "has everything that was logged" in output
    assert_every_metric_is_there_once(server.uri, training, "KILLED")


def test_what_could_not_be_delivered_is_uploaded_later_and_once(
    server: Server, tmp_path: Path
) -> None:
    training = Training(tmp_path, server.uri, "+trainer.max_steps=300", "logger.mlflow.patience=5")
    output = training.end()
    assert output.count("does not take the records") == 1, output
    assert "Upload it with: python src/sync.py" in output
    patient = ENVIRONMENT | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
    sync = [sys.executable, "src/sync.py", str(training.logs)]
    down = subprocess.run(sync, cwd=PROJECT_ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert down.returncode == 1
    assert "not uploaded" in down.stdout
    server.start()
    for answer in ("uploaded to", "Nothing to upload"):
        up = subprocess.run(sync, cwd=PROJECT_ROOT, env=patient, capture_output=True, text=True)
        assert up.returncode == 0, up.stdout
        assert answer in up.stdout
    assert_every_metric_is_there_once(server.uri, training, "FINISHED")


@pytest.mark.skipif(EXECUTABLE is None, reason="needs Chromium")
def test_the_page_of_a_run_shows_its_curves_and_images(server: Server, tmp_path: Path) -> None:
    server.start()
    limits = ("trainer.max_epochs=3", "logger.mlflow.patience=60")
    training = Training(tmp_path, server.uri, *limits, callbacks="default")
    training.end()
    (state,) = training.logs.glob("train/runs/*/mlflow/state.json")
    run = json.loads(state.read_text())
    address = f"{server.uri}/#/experiments/{run['experiment_id']}/runs/{run['run_id']}"
    with browser(tmp_path / "profile") as page:
        page.open(address)
        for word in (run["run_id"], "val/acc", "speed/samples_per_second", "data.batch_size"):
            page.wait_for(f"document.body.innerText.includes('{word}')")
        page.open(f"{address}/model-metrics", height=4000)  # what is out of sight is not loaded
        page.wait_for("document.querySelectorAll('.js-plotly-plot path.js-line').length >= 4")
        for picture in ("test~confusion_matrix", "test~worst_mistakes"):
            loaded = "image.complete && image.naturalWidth > 100"
            images = "[...document.querySelectorAll('img')]"
            found = f"image.src.includes('{picture}') && {loaded}"
            page.wait_for(f"{images}.some(image => {found})")
