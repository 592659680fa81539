"""Stores in trouble, from the recorder's side: what is recorded arrives, or is kept. -m server"""

import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest

from src.runtime.identity import PROJECT_ROOT
from src.runtime.tracker.journal import read, read_json
from src.runtime.tracker.mlflow_delivery import Delivery
from src.runtime.tracker.mlflow_format import EXAMPLE
from src.runtime.tracker.mlflow_process import MLflowProcess
from src.runtime.tracker.mlflow_recorder import Recorder, now

pytestmark = pytest.mark.server
STEPS = 2_000
ABOUT = {"experiment": "trouble", "artifact_location": None, "name": None, "tags": {}}


class Answers500(http.server.BaseHTTPRequestHandler):
    """A server that is broken inside."""

    def do_POST(self) -> None:
        """Answer 500."""
        self.send_error(500)

    do_GET = do_POST

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def broken() -> Generator[str]:
    """Yield the address of a server that answers 500."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers500) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def silent() -> Generator[str]:
    """Yield the address of a server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("server", [broken, silent])
def test_a_server_that_gives_no_answer_loses_and_stops_nothing(
    server: Callable[[], AbstractContextManager[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    with server() as uri:
        recorder = Recorder(tmp_path / "mlflow", uri, ABOUT, patience=1)
        for step in range(STEPS):
            recorder.record({"metrics": {"loss": 1 / (1 + step)}, "step": step, "time": now()})
        recorder.finalize("success")
        outcome = recorder.close()
    assert outcome is not None
    assert "python src/sync.py" in outcome
    assert len(list(read(tmp_path / "mlflow" / "journal.jsonl"))) == STEPS + 2
    later = Delivery(tmp_path / "mlflow", f"sqlite:///{tmp_path}/later.db")
    for _ in range(2):  # the second time has nothing to do
        later.deliver()
        later.finish()
    assert steps_of(tmp_path, "later.db") == [list(range(STEPS))]


@pytest.mark.parametrize("number", [2, 4, 8])
def test_jobs_write_to_one_fresh_database_at_once(tmp_path: Path, number: int) -> None:
    script = f"""
import sys, time
from pathlib import Path
from src.runtime.tracker.mlflow_recorder import Recorder, now
uri = "sqlite:///{tmp_path}/mlflow.db"
about = {ABOUT!r} | {{"name": sys.argv[1]}}
recorder = Recorder(Path({str(tmp_path)!r}) / sys.argv[1], uri, about, patience=120)
for step in range({STEPS}):
    recorder.record({{"metrics": {{"loss": step / 7}}, "step": step, "time": now()}})
recorder.finalize("success")
print(recorder.close())
"""
    started = time.monotonic()
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", script, f"job{job}"],
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for job in range(number)
    ]
    outcomes = [job.communicate(timeout=500)[0] for job in jobs]
    assert all("has everything" in outcome for outcome in outcomes), outcomes
    assert steps_of(tmp_path, "mlflow.db") == [list(range(STEPS))] * number
    log = "".join(path.read_text() for path in tmp_path.glob("job*/delivery.log"))
    assert "Not delivered" not in log, log
    assert "database is locked" not in log
    print(f"{number} jobs, {number * STEPS} metrics: {time.monotonic() - started:.1f} s")


def test_jobs_of_a_sweep_share_a_process_and_only_its_end_waits(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    sweep = Recorder(tmp_path / "sweep", uri, ABOUT)
    sweep.describe()
    sweep.process.is_kept = True
    started: set[int] = set()
    for number in range(3):
        job = Recorder(tmp_path / str(number), uri, ABOUT | {"parent": str(sweep.folder)})
        for step in range(STEPS):
            job.record({"metrics": {"loss": step / 7}, "step": step, "time": now()})
        job.finalize("success")
        assert job.close() is None
        started |= {process.pid for process in psutil.Process().children()}
    assert len(started) == 1
    sweep.process.is_kept = False
    for step in range(STEPS):
        sweep.record({"metrics": {"loss": step / 7}, "step": step, "time": now()})
    sweep.finalize("success")
    assert "has everything" in str(sweep.close())
    assert not psutil.pid_exists(started.pop())
    assert steps_of(tmp_path, "mlflow.db") == [list(range(STEPS))] * 4


def test_jobs_of_a_sweep_in_a_worker_share_a_process_that_ends_with_it(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    sweep = Recorder(tmp_path / "sweep", uri, ABOUT)
    sweep.describe()
    script = f"""
import psutil
from pathlib import Path
from src.runtime.tracker.mlflow_recorder import Recorder
for number in range(2):
    folder = Path({str(tmp_path)!r})
    about = {ABOUT} | {{"parent": str(folder / "sweep")}}
    job = Recorder(folder / str(number), {uri!r}, about)
    job.record({{"metrics": {{"loss": 1.0}}, "step": 0, "time": 1}})
    job.finalize("success")
    print(job.close())
    print(*[process.pid for process in psutil.Process().children()])
"""
    worker = [sys.executable, "-c", script]
    result = subprocess.run(worker, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=120)
    said, pid, *again = result.stdout.splitlines()
    assert "has everything" in said, result.stderr
    assert again == [said, pid]
    assert not psutil.pid_exists(int(pid))
    sweep.record({"tags": {"sweep": "true"}})
    sweep.finalize("success")
    assert "has everything" in str(sweep.close())
    assert sorted(steps_of(tmp_path, "mlflow.db")) == [[], [0], [0]]


def test_a_sweep_that_ends_early_says_so_through_the_process_of_its_jobs(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    script = f"""
import atexit, psutil
from pathlib import Path
from src.runtime.tracker.mlflow_recorder import Recorder
folder = Path({str(tmp_path)!r})
sweep = Recorder(folder / "sweep", {uri!r}, {ABOUT})
sweep.describe()
sweep.process.is_kept = True
def end():
    print(*[process.pid for process in psutil.Process().children()])
    sweep.record({{"tags": {{"sweep": "true"}}}})
    sweep.finalize("killed")
    sweep.process.is_kept = False
    print(sweep.close())
atexit.register(end)
job = Recorder(folder / "0", {uri!r}, {ABOUT} | {{"parent": str(folder / "sweep")}})
job.record({{"metrics": {{"loss": 1.0}}, "step": 0, "time": 1}})
job.finalize("killed")
print(*[process.pid for process in psutil.Process().children()])
"""
    early = [sys.executable, "-c", script]
    result = subprocess.run(early, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=120)
    started, at_exit, said = result.stdout.splitlines()
    assert started == at_exit
    assert "has everything" in said, result.stderr
    assert sorted(steps_of(tmp_path, "mlflow.db", "KILLED")) == [[], [0]]


def test_a_process_that_dies_is_started_again(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    recorder = Recorder(tmp_path / "mlflow", uri, ABOUT)
    for step in range(STEPS):
        recorder.record({"metrics": {"loss": step / 7}, "step": step, "time": now()})
        if step == STEPS // 2:
            (process,) = psutil.Process().children()
            process.kill()
            process.wait()
            time.sleep(0.5)  # until its end is noticed
    recorder.finalize("success")
    assert "has everything" in str(recorder.close())
    assert steps_of(tmp_path, "mlflow.db") == [list(range(STEPS))]


def test_a_process_started_ahead_is_the_one_that_delivers(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    MLflowProcess.of(uri).start_ahead(tmp_path / "mlflow", models=False)
    (ahead,) = psutil.Process().children()
    recorder = Recorder(tmp_path / "mlflow", uri, ABOUT)
    recorder.record({"metrics": {"loss": 1.0}, "step": 0, "time": now()})
    assert psutil.Process().children() == [ahead]
    recorder.finalize("success")
    assert "has everything" in str(recorder.close())
    assert not psutil.pid_exists(ahead.pid)
    assert steps_of(tmp_path, "mlflow.db") == [[0]]


def test_a_model_that_cannot_be_exported_is_told_and_costs_nothing_else(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "mlflow", "http://127.0.0.1:9", ABOUT, patience=0)
    model = tmp_path / "mlflow" / "files" / "some"
    model.mkdir(parents=True)
    (model / "epoch_000.ckpt").write_text("no checkpoint")
    np.save(model / EXAMPLE, np.zeros((2, 3)))
    recorder.record({"model": "files/some/epoch_000.ckpt", "key": "k", "step": 0})
    recorder.record({"metrics": {"loss": 1.0}, "step": 0, "time": now()})
    recorder.finalize("success")
    recorder.close()
    told: list[str] = []
    later = Delivery(tmp_path / "mlflow", f"sqlite:///{tmp_path}/later.db", told.append)
    later.deliver()
    later.finish()
    assert later.complete
    assert len(told) == 1
    assert "not logged as a model" in told[0]
    assert "epoch_000.ckpt is damaged" in told[0]
    assert not model.exists()
    assert steps_of(tmp_path, "later.db") == [[0]]


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
def test_a_database_on_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    script = f"""
import resource
from pathlib import Path
from src.runtime.tracker.mlflow_delivery import Delivery
folder, uri = Path({str(tmp_path)!r}) / "mlflow", "sqlite:///{tmp_path}/mlflow.db"
delivery = Delivery(folder, uri)
delivery._open()
full = Path("{tmp_path}/mlflow.db").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
try:
    delivery.deliver()
except Exception as error:
    print("full:", error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
delivery.deliver()
delivery.finish()
"""
    recorder = Recorder(tmp_path / "mlflow", "http://127.0.0.1:9", ABOUT, patience=0)
    for step in range(STEPS):
        recorder.record({"metrics": {"loss": step / 7}, "step": step, "time": now()})
    recorder.finalize("failed")
    recorder.close()
    run = read_json(tmp_path / "mlflow" / "run.json")
    assert run["uri"] == "http://127.0.0.1:9"
    command = [sys.executable, "-c", script]
    result = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "full:" in result.stdout
    assert steps_of(tmp_path, "mlflow.db", "FAILED") == [list(range(STEPS))]


def steps_of(tmp_path: Path, database: str, status: str = "FINISHED") -> list[list[int]]:
    """Return, for each run of a database, the steps at which `loss` was logged."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path / database}")
    experiment = client.get_experiment_by_name("trouble")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {status}
    histories = (client.get_metric_history(run.info.run_id, "loss") for run in runs)
    return [sorted(metric.step for metric in history) for history in histories]
