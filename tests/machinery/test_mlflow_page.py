"""`src/ui.py` serves MLflow's page with little, shows a run, and leaves nothing behind."""

import base64
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from browser import EXECUTABLE, browser
from matplotlib.figure import Figure
from mlflow_tools import HandWrittenRun, Server

from src.runtime.mlflow_run import DESCRIPTION, RunUploader
from src.runtime.mlflow_upload import run_page_url
from src.runtime.project import read_json

pytest.importorskip("mlflow")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> HandWrittenRun:
    """Return a run in a database, with forty parameters, curves and pictures."""
    logs = tmp_path_factory.mktemp("with space") / "logs"
    params = {f"model.net.size_{n}": str(n) for n in range(40)}
    uri = f"sqlite:///{logs}/mlflow/mlflow.db"
    run = HandWrittenRun(logs / "train/runs/some run", uri, params=params)
    run.log_steps(range(300))
    (run.dir / "images").mkdir()
    for step in (100, 200):
        figure = Figure((6.4, 4.8), dpi=100)
        figure.subplots().plot([0, step])
        figure.savefig(run.dir / "images" / f"val_matrix_step_{step:06d}.png")
    run.end()
    RunUploader(run.dir).upload_new_data()
    return run


@contextmanager
def page_of(run_dir: Path | str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Yield the process of `python src/ui.py RUN` and the address that it prints."""
    command = [sys.executable, "src/ui.py", str(run_dir), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    address = next(line.split()[1] for line in lines if line.startswith("MLflow: "))
    try:
        yield process, address
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_page_takes_little_and_ends_with_its_command(
    run: HandWrittenRun, number: signal.Signals
) -> None:
    with page_of(run.dir) as (process, address):
        wait_for_page(address)
        processes = [psutil.Process(process.pid), *psutil.Process(process.pid).children(True)]
        memory = sum(one.memory_full_info().rss for one in processes) / 2**20
        print(f"{len(processes)} processes, {memory:.0f} MiB")
        assert len(processes) <= 2
        assert memory < 400
        process.send_signal(number)
        assert process.wait(20) in (0, -number)
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
        assert not any(one.is_running() for one in processes)


@pytest.mark.skipif(EXECUTABLE is None, reason="needs Chromium")
def test_the_link_opens_the_run_among_its_curves_and_pictures(
    run: HandWrittenRun, tmp_path: Path
) -> None:
    with page_of(run.dir) as (_, address), browser(tmp_path / "profile") as page:
        page.open(address)
        for word in ("some run", "Model metrics", "loss"):
            page.wait_for(f"document.body.innerText.includes('{word}')")
        page.wait_for("document.querySelectorAll('.js-plotly-plot path.js-line').length >= 1")
        save(page.command("Page.captureScreenshot"), "mlflow_curves.png", tmp_path)
        picture = "artifacts/images/val_matrix_step_000200.png"
        page.open(address.replace("model-metrics", picture))
        loaded = "image.complete && image.naturalWidth == 640"
        visible = "image.getBoundingClientRect().bottom < innerHeight"
        images = "[...document.querySelectorAll('img')]"
        page.wait_for(f"{images}.some(image => {loaded} && {visible})")
        save(page.command("Page.captureScreenshot"), "mlflow_pictures.png", tmp_path)


@pytest.mark.skipif(EXECUTABLE is None, reason="needs Chromium")
def test_without_a_run_the_page_lists_experiments_of_model_training(
    run: HandWrittenRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = read_json(run.dir / DESCRIPTION)["tracking_uri"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with page_of("") as (_, address), browser(tmp_path / "profile") as page:
        page.open(address)
        page.wait_for("document.body.innerText.includes('Model registry')")  # not of GenAI's view
        page.wait_for("[...document.querySelectorAll('a')].some(a => a.href.includes('/1'))")


def test_a_server_has_a_page_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    server = Server(tmp_path / "server")
    run = HandWrittenRun(tmp_path / "logs/train/runs/a", server.uri)
    run.end()
    server.start()
    try:
        RunUploader(run.dir).upload_new_data()
        monkeypatch.setattr("webbrowser.open", lambda address: True)
        answer = command(str(run.dir), verb="ui")
        assert answer.out.split() == ["MLflow:", run_page_url(run.dir)]
        assert answer.out.split()[1].startswith(f"{server.uri}/#/experiments/")
    finally:
        server.send(signal.SIGKILL)


def wait_for_page(address: str) -> None:
    """Wait until a page answers."""
    with urllib.request.urlopen(address.partition("#")[0], timeout=30) as answer:
        assert answer.status == 200


def save(screenshot: dict[str, str], name: str, tmp_path: Path) -> None:
    """Keep a picture of the page, in the folder `SCREENSHOTS` if that is set."""
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    (folder / name).write_bytes(base64.b64decode(screenshot["data"]))
