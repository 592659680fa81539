"""Each launcher runs the jobs of a sweep or of a search, each in its own folder, and continues."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import toy_sweep

pytestmark = pytest.mark.slow

TOY = str(Path(toy_sweep.__file__))
LAUNCHERS = {"joblib": "joblib", "submitit_local": "submitit"}
needs_slurm = pytest.mark.skipif(
    shutil.which("sinfo") is None or "SLURM_CONF" not in os.environ, reason="there is no SLURM"
)


def run(log_dir: Path, *overrides: str, code: int = 0, **environment: str) -> str:
    """Run a sweep of the toy, and return its output."""
    result = subprocess.run(
        [sys.executable, TOY, "-m", "sweep_name=s", f"paths.log_dir={log_dir}", *overrides],
        env=os.environ | {"PYTHONPATH": str(Path(TOY).parent)} | environment,  # for submitit
        capture_output=True,
        text=True,
    )
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout


def ran(log_dir: Path) -> list[str]:
    """Return `FOLDER X` of each job that ran, in order."""
    return sorted((log_dir / "lines").read_text().splitlines())


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_sweep_continues(tmp_path: Path, launcher: str) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{LAUNCHERS[launcher]}_launcher")
    choice = f"hydra/launcher={launcher}"
    output = run(tmp_path, choice, "x=1,2,3", TOY_BAD="2", code=1)
    assert ran(tmp_path) == ["0 1", "1 2", "2 3"]
    assert "failed ValueError: x=2 is bad" in output
    run(tmp_path, choice, "x=0,1,2,3")
    assert ran(tmp_path)[:2] == ["0 1", "1 2"]
    assert sorted(line.split()[1] for line in ran(tmp_path)) == ["0", "1", "2", "2", "3"]
    assert len(list((tmp_path / "toy/multiruns/s").glob("[0-9]*"))) == 4


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_search_runs_its_trials(tmp_path: Path, launcher: str) -> None:
    pytest.importorskip("optuna")
    pytest.importorskip(f"hydra_plugins.hydra_{LAUNCHERS[launcher]}_launcher")
    search = ("hydra/sweeper=optuna", "x=interval(0,1)", "hydra.sweeper.n_trials=3")
    output = run(tmp_path, *search, f"hydra/launcher={launcher}")
    assert [line.split()[0] for line in ran(tmp_path)] == ["0", "1", "2"]
    assert "Best trial" in output


@needs_slurm
@pytest.mark.parametrize("tasks", [1, 2])
def test_slurm_runs_the_jobs_of_a_sweep(tmp_path: Path, tasks: int) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    small = ("data=digits", "trainer.max_epochs=1", "logger=none", "trainer.accelerator=cpu")
    processes = ("trainer=ddp_sim", f"hydra.launcher.tasks_per_node={tasks}") if tasks > 1 else ()
    command = [sys.executable, "src/train.py", "-m", "seed=1,2", "hydra/launcher=submitit_slurm"]
    overrides = [*small, *processes, "sweep_name=s", f"paths.log_dir={tmp_path}"]
    subprocess.run([*command, *overrides], cwd=os.environ["PROJECT"], check=True)
    records = [
        json.loads((tmp_path / f"train/multiruns/s/{job}/run.json").read_text()) for job in "01"
    ]
    assert [record["status"] for record in records] == ["finished", "finished"]
    assert ["seed=1" in record["overrides"] for record in records] == [True, False]
