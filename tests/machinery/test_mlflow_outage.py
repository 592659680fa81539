"""MLflow's server is down, dies, stalls, answers errors; uploader and run are killed."""

import http.client
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from mlflow_tools import HandWrittenRun, Server, client_of, stored_history, stored_run, wait_until

from src.runtime import mlflow_upload
from src.runtime.mlflow_run import DESCRIPTION, STATE, is_fully_uploaded
from src.runtime.project import read_json
from src.runtime.run_folder import active_owner

pytest.importorskip("mlflow")
pytestmark = pytest.mark.slow

# A run that logs until it is killed; without torch it starts at once.
TRAINING = """
import sys, time
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from pathlib import Path
from mlflow_tools import HandWrittenRun
from src.runtime.mlflow_upload import ensure_uploader_is_running
run = HandWrittenRun(Path(sys.argv[3]), sys.argv[4])
ensure_uploader_is_running(run.dir)
step = 0
while True:
    run.log_steps(range(step, step + 1))
    step += 1
    time.sleep(0.02)
"""


# fcntl locks, which SQLite needs, fail as on some network file systems.
NO_LOCKS = """
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>

int fcntl64(int file, int command, ...) {
  va_list rest;
  va_start(rest, command);
  void *argument = va_arg(rest, void *);
  va_end(rest);
  if (command == 6 || command == 7) { /* F_SETLK, F_SETLKW */
    errno = ENOSYS;
    return -1;
  }
  int (*original)(int, int, void *) = dlsym((void *)-1L, "fcntl64");
  return original(file, command, argument);
}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield a server; each test leaves it running, or starts it."""
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.send(signal.SIGKILL)


class Proxy(BaseHTTPRequestHandler):
    """Passes requests on to a server, or answers as `mood` says."""

    server_port = 0
    mood: int | str = "pass"  # or the code of an error, or `stall`

    def do_GET(self) -> None:
        """Answer, or pass on."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.mood == "stall":
            time.sleep(30)
        if self.mood != "pass":
            with suppress(BrokenPipeError):
                self.send_error(500 if self.mood == "stall" else int(self.mood))
            return
        connection = http.client.HTTPConnection("127.0.0.1", self.server_port, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        with suppress(BrokenPipeError):  # nobody waits for it any more
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def proxy(server: Server) -> Iterator[tuple[type[Proxy], str]]:
    """Yield a class whose `mood` decides, and the address that it answers at."""
    if server.process is None:
        server.start()
    mine = type("Mine", (Proxy,), {"server_port": server.port})
    with ThreadingHTTPServer(("127.0.0.1", 0), mine) as listening:
        listening.daemon_threads = True
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield mine, f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


def uploader_of(log_dir: Path) -> psutil.Process:
    """Return the process that uploads."""
    wait_until(lambda: active_owner(log_dir, mlflow_upload.CLAIM))
    owner = active_owner(log_dir, mlflow_upload.CLAIM)
    assert owner is not None
    return psutil.Process(owner["pid"])


@pytest.fixture(autouse=True)
def no_uploader_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let requests fail sooner than in use, and end the uploader of a test's `logs/`."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "4")
    yield
    if owner := active_owner(tmp_path / "logs", mlflow_upload.CLAIM):
        psutil.Process(owner["pid"]).kill()


def test_a_server_is_down_from_the_start_and_comes_later(tmp_path: Path, server: Server) -> None:
    server.send(signal.SIGKILL)
    run = HandWrittenRun(tmp_path / "logs/train/runs/a", server.uri)
    mlflow_upload.ensure_uploader_is_running(run.dir)
    run.log_steps(range(300))
    wait_until(lambda: read_json(run.dir / STATE).get("error"))
    run.end()
    started = time.monotonic()
    line = mlflow_upload.upload_status_after_waiting(run.dir, patience=3)
    assert time.monotonic() - started < 30
    assert "has not everything yet" in line
    assert f"python src/sync.py {run.dir}" in line
    server.start()
    sync = [sys.executable, "src/sync.py", str(run.dir)]
    result = subprocess.run(sync, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
    assert stored_history(server.uri, run.dir) == run.history()
    assert stored_run(server.uri, run.dir).info.status == "FINISHED"


def test_a_server_dies_stalls_and_returns_during_a_run(tmp_path: Path, server: Server) -> None:
    if server.process is None:
        server.start()
    run = HandWrittenRun(tmp_path / "logs/train/runs/a", server.uri)
    run.log_steps(range(100))
    mlflow_upload.ensure_uploader_is_running(run.dir)
    wait_until(lambda: read_json(run.dir / STATE).get("offset"))
    server.send(signal.SIGKILL)
    run.log_steps(range(100, 200))
    wait_until(lambda: read_json(run.dir / STATE).get("error"))
    server.start()
    wait_until(lambda: not read_json(run.dir / STATE).get("error"))
    server.send(signal.SIGSTOP)
    run.log_steps(range(200, 300))
    wait_until(lambda: read_json(run.dir / STATE).get("error"))
    server.send(signal.SIGCONT)
    run.log_steps(range(300, 400))
    run.end("failed")
    assert "has everything" in mlflow_upload.upload_status_after_waiting(run.dir, patience=60)
    assert stored_history(server.uri, run.dir) == run.history()
    assert stored_run(server.uri, run.dir).info.status == "FAILED"


@pytest.mark.parametrize("mood", [500, 503, 429, "stall"])
def test_a_server_that_answers_errors(
    tmp_path: Path, server: Server, proxy: tuple[type[Proxy], str], mood: int | str
) -> None:
    handler, uri = proxy
    handler.mood = mood
    run = HandWrittenRun(tmp_path / "logs/train/runs/a", uri)
    mlflow_upload.ensure_uploader_is_running(run.dir)
    run.log_steps(range(100))
    wait_until(lambda: read_json(run.dir / STATE).get("error"))
    handler.mood = "pass"
    wait_until(lambda: read_json(run.dir / STATE).get("offset"))
    handler.mood = mood
    run.log_steps(range(100, 200))
    wait_until(lambda: read_json(run.dir / STATE).get("error"))
    handler.mood = "pass"
    run.end()
    assert "has everything" in mlflow_upload.upload_status_after_waiting(run.dir, patience=60)
    assert stored_history(server.uri, run.dir) == run.history()
    key = read_json(run.dir / DESCRIPTION)["key"]
    experiment = stored_run(server.uri, run.dir).info.experiment_id
    found = client_of(server.uri).search_runs([experiment], f"tags.run_key = '{key}'")
    assert len(found) == 1  # though requests that had been given up were answered later


def test_an_uploader_that_is_killed_is_replaced(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    run = HandWrittenRun(tmp_path / "logs/train/runs/a", uri)
    mlflow_upload.ensure_uploader_is_running(run.dir)
    for part in range(4):
        run.log_steps(range(part * 700, (part + 1) * 700))
        before = read_json(run.dir / STATE).get("offset", 0)
        wait_until(lambda before=before: read_json(run.dir / STATE).get("offset", 0) > before)
        uploader_of(tmp_path / "logs").kill()
        other = HandWrittenRun(tmp_path / f"logs/train/runs/other{part}", uri)
        other.end()
        wait_until(lambda: not active_owner(tmp_path / "logs", mlflow_upload.CLAIM))
        # The next run starts one, which does both.
        mlflow_upload.ensure_uploader_is_running(other.dir)
    run.end()
    assert "has everything" in mlflow_upload.upload_status_after_waiting(tmp_path / "logs")
    assert stored_history(uri, run.dir) == run.history()


def test_an_uploader_that_is_killed_while_it_creates_the_database(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    run = HandWrittenRun(tmp_path / "logs/train/runs/a", uri)
    run.log_steps(range(100))
    run.end()
    for kill in range(8):
        mlflow_upload.ensure_uploader_is_running(run.dir)
        uploader = uploader_of(tmp_path / "logs")
        if kill == 7:
            break
        with suppress(AssertionError):  # it was faster
            wait_until(lambda kill=kill: [*tmp_path.glob("mlflow/.mlflow.db.*")][kill:], 20)
        time.sleep(0.3 * kill)
        uploader.kill()
        uploader.wait()
    assert "has everything" in mlflow_upload.upload_status_after_waiting(run.dir)
    assert stored_history(uri, run.dir) == run.history()


def test_logs_that_are_removed_while_the_uploader_waits(tmp_path: Path) -> None:
    for _ in range(2):
        run = HandWrittenRun(tmp_path / "logs/train/runs/a", f"sqlite:///{tmp_path}/logs/mlflow.db")
        run.log_steps(range(10))
        run.end()
        mlflow_upload.ensure_uploader_is_running(run.dir)
        uploader = uploader_of(tmp_path / "logs")
        assert "has everything" in mlflow_upload.upload_status_after_waiting(run.dir)
        shutil.rmtree(tmp_path / "logs")
    assert not uploader.is_running() or uploader.wait(10) is not None


def test_a_run_that_is_killed_arrives_as_killed(tmp_path: Path, project: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    run_dir = tmp_path / "logs/train/runs/a"
    tools = str(Path(__file__).parent)
    command = [sys.executable, "-c", TRAINING, str(project), tools, str(run_dir), uri]
    training = subprocess.Popen(command, cwd=project)
    wait_until(lambda: read_json(run_dir / STATE).get("offset"))
    training.kill()
    training.wait()
    wait_until(lambda: is_fully_uploaded(run_dir))
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    stored = stored_history(uri, run_dir)["train/loss"]
    assert [step for step, _ in stored] == list(range(len(lines)))
    assert stored_run(uri, run_dir).info.status == "KILLED"
    wait_until(lambda: not active_owner(tmp_path / "logs", mlflow_upload.CLAIM))  # and it ends


def test_a_second_uploader_of_the_same_folder_ends_at_once(tmp_path: Path) -> None:
    run = HandWrittenRun(tmp_path / "logs/train/runs/a", f"sqlite:///{tmp_path}/mlflow.db")
    mlflow_upload.ensure_uploader_is_running(run.dir)
    first = uploader_of(tmp_path / "logs").pid
    command = [sys.executable, "-m", "src.runtime.mlflow_upload", str(tmp_path / "logs")]
    assert subprocess.run(command, timeout=60).returncode == 0
    assert uploader_of(tmp_path / "logs").pid == first
    run.end()


@pytest.mark.skipif(sys.platform != "linux", reason="preloads a library")
def test_a_file_system_without_locks_is_told(tmp_path: Path, project: Path) -> None:
    source = tmp_path / "no_locks.c"
    source.write_text(NO_LOCKS + NO_LOCKS.replace("fcntl64", "fcntl").partition("\n\n")[2])
    library = tmp_path / "no_locks.so"
    built = subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"])
    assert built.returncode == 0
    run = HandWrittenRun(tmp_path / "logs/train/runs/a", f"sqlite:///{tmp_path}/mlflow.db")
    run.log_steps(range(10))
    run.end()
    sync = [sys.executable, "src/sync.py", str(run.dir)]
    environment = os.environ | {"LD_PRELOAD": str(library)}
    told = subprocess.run(sync, env=environment, capture_output=True, text=True, timeout=120)
    assert told.returncode == 1, told.stdout
    assert "python src/sync.py" in told.stdout
    assert subprocess.run(sync, timeout=120).returncode == 0


def test_a_million_rows_arrive(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    run = HandWrittenRun(tmp_path / "logs/train/runs/a", uri)
    with (run.dir / "metrics.jsonl").open("w") as file:
        for step in range(1_000_000):
            file.write(f'{{"time": {1_700_000_000_000 + step}, "step": {step}, ')
            file.write(f'"metrics": {{"loss": {step / 7}}}}}\n')
    run.end()
    mlflow_upload.ensure_uploader_is_running(run.dir)
    uploader = uploader_of(tmp_path / "logs")
    most = 0
    started = time.monotonic()
    while not is_fully_uploaded(run.dir):
        most = max(most, uploader.memory_info().rss)
        assert time.monotonic() - started < 1500
        time.sleep(1)
    print(f"{time.monotonic() - started:.0f} s, {most / 2**20:.0f} MiB")
    assert most < 600 * 2**20
    from sqlalchemy import create_engine, text

    with create_engine(uri).connect() as connection:
        count = connection.execute(text("select count(*), sum(step) from metrics")).one()
    assert tuple(count) == (1_000_000, sum(range(1_000_000)))
