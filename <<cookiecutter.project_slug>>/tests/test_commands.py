"""Whole command lines in a copy of the project, and what they leave behind."""

import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from src.runtime.identity import PROJECT_ROOT

warnings.filterwarnings("ignore", module="mlflow")

CANARY = "canary-161803"
PARTS = ("src", "configs", "hydra_plugins")
SHORT = ("data=digits", "trainer.accelerator=cpu", "trainer.max_epochs=1")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a copy of the project, with no logs and an environment file of its own."""
    for name in PARTS:
        shutil.copytree(PROJECT_ROOT / name, tmp_path / name)
    return tmp_path


def run(project: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python COMMAND` in the project and return what came of it."""
    outside = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PROJECT_ROOT")}
    return subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env=outside | environment,
        capture_output=True,
        text=True,
    )


def assert_no_canary(project: Path, *commands: subprocess.CompletedProcess[str]) -> None:
    """Look for the secret in all files but `.env`, and in what commands printed."""
    files = [path for path in project.rglob("*") if path.is_file() and path.name != ".env"]
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
    assert CANARY not in "".join(done.stdout + done.stderr for done in commands)


@pytest.mark.slow
def test_no_secret_reaches_the_console_a_tracker_or_a_checkpoint(project: Path) -> None:
    pytest.importorskip("wandb")
    address = f"http://user:{CANARY}@127.0.0.1:9"  # where nobody listens
    (project / ".env").write_text(f"TOKEN={CANARY}\nMLFLOW_TRACKING_URI={address}\n")
    given = ("+token='${oc.env:TOKEN}'", "+nested.url='https://${token}@host'")
    loggers = ("common/logger@logger=[many_loggers,wandb]", "logger.mlflow.patience=1")
    done = run(project, "src/train.py", *SHORT, *loggers, *given, WANDB_MODE="offline")
    assert done.returncode == 0, done.stderr
    written = [path for path in (project / "logs").rglob("*") if path.is_file()]
    assert {path.suffix for path in written} >= {".ckpt", ".wandb", ".csv", ".jsonl"}
    assert any("tfevents" in path.name for path in written)
    assert "${oc.env:TOKEN}" in done.stdout
    failed = run(project, "src/sync.py")
    assert "not uploaded" in failed.stdout
    assert_no_canary(project, done, failed)


@pytest.mark.slow
def test_a_sweep_is_one_run_in_mlflow_and_its_jobs_are_children(project: Path) -> None:
    from mlflow import MlflowClient

    (project / ".env").write_text(f"TOKEN={CANARY}\n")
    rates = "model.optimizer.lr=0.001,0.01"
    given = ("common/logger@logger=mlflow", "+token='${oc.env:TOKEN}'", rates)
    done = run(project, "src/train.py", "-m", *SHORT, *given)
    assert done.returncode == 0, done.stderr
    assert_no_canary(project, done)
    client = MlflowClient(f"sqlite:///{project}/logs/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("<< cookiecutter.project_slug >>")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    children = [run for run in runs if run is not parent]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.data.params["model.optimizer.lr"] for run in children} == {"0.001", "0.01"}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert rates in parent.data.params["overrides"]


def test_the_page_of_a_server_is_opened_and_none_is_started(project: Path) -> None:
    (project / ".env").write_text("MLFLOW_TRACKING_URI=http://127.0.0.1:9\n")
    opened = run(project, "src/ui.py", BROWSER="echo the browser shows %s")
    assert opened.returncode == 0, opened.stderr
    assert re.search(r"the browser shows http://127\.0\.0\.1:9$", opened.stdout, re.MULTILINE)


def test_the_page_of_no_run_is_refused_in_a_line(project: Path) -> None:
    refused = run(project, "src/ui.py")
    assert refused.returncode == 1
    assert refused.stderr == "Error: no run has been logged to MLflow yet: python src/train.py\n"
