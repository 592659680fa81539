"""Each launcher runs the jobs of a sweep for real, each with its own parameters."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.runtime import record
from src.runtime.identity import PROJECT_ROOT
from tests.test_distributed import SMALL, SRUN, WITNESS, run, seen

pytestmark = pytest.mark.slow

PLUGINS = {"joblib": "joblib", "submitit_local": "submitit", "ray": "ray"}
ONE_PROCESS = (*SMALL[:-1], "trainer.accelerator=cpu", "test=false")
needs_slurm = pytest.mark.skipif(
    shutil.which("sinfo") is None or "SLURM_CONF" not in os.environ,
    reason="no SLURM: scripts/slurm_one_node.sh sets one up",
)


def rates(tmp_path: Path) -> list[list[float]]:
    """Return the learning rates of each rank of each job."""
    (sweep,) = (tmp_path / "train/multiruns").iterdir()
    assert not (tmp_path / "train/runs").exists()
    return [[rank["lr"] for rank in seen(sweep / job)] for job in "01"]


@pytest.mark.parametrize("launcher", PLUGINS)
def test_launcher(tmp_path: Path, launcher: str) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{PLUGINS[launcher]}_launcher")
    sweep = ("hydra.mode=MULTIRUN", "model.optimizer.lr=0.001,0.002", f"hydra/launcher={launcher}")
    result = run(tmp_path, *WITNESS, *ONE_PROCESS, *sweep)
    assert result.returncode == 0, result.stdout + result.stderr
    assert rates(tmp_path) == [[0.001], [0.002]]


def test_joblib_divides_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = os.cpu_count() or 1
    jobs = max(2, cores // 2)
    launcher = ("hydra/launcher=joblib", f"hydra.launcher.n_jobs={jobs}")
    result = run(tmp_path, *WITNESS, *ONE_PROCESS, "hydra.mode=MULTIRUN", "seed=1,2", *launcher)
    assert result.returncode == 0, result.stdout + result.stderr
    (sweep,) = (tmp_path / "train/multiruns").iterdir()
    assert {rank["threads"] for job in "01" for rank in seen(sweep / job)} == {cores // jobs}


@needs_slurm
@pytest.mark.parametrize("tasks", [1, 2])
def test_slurm_runs_the_jobs_of_a_sweep(tmp_path: Path, tasks: int) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    processes = ("common/trainer@trainer=ddp_sim", f"hydra.launcher.tasks_per_node={tasks}")
    sweep = (
        "hydra.mode=MULTIRUN",
        "model.optimizer.lr=0.001,0.002",
        "hydra/launcher=submitit_slurm",
    )
    own = processes if tasks > 1 else ()
    result = run(tmp_path, *WITNESS, *ONE_PROCESS, *sweep, *own)
    assert result.returncode == 0, result.stdout + result.stderr
    assert rates(tmp_path) == [[0.001] * tasks, [0.002] * tasks]


@needs_slurm
def test_srun_makes_one_run(tmp_path: Path) -> None:
    result = run(tmp_path, *SRUN, *WITNESS, *SMALL)
    assert result.returncode == 0, result.stdout + result.stderr
    (folder,) = (tmp_path / "train/runs").iterdir()
    assert folder.name.startswith("slurm_")
    assert len(seen(folder)) == 2
    assert [path.name for path in folder.rglob("*.log")] == ["train.log"]


@needs_slurm
def test_a_job_that_slurm_queues_again_goes_on(tmp_path: Path) -> None:
    command = " ".join(
        [*WITNESS, *ONE_PROCESS, "trainer.max_epochs=2", f"paths.log_dir={tmp_path}"]
    )
    script = tmp_path / "job.sh"
    requeue = '[ -n "$SLURM_RESTART_COUNT" ] || { scontrol requeue $SLURM_JOB_ID; sleep 60; }'
    first = f'[ -n "$SLURM_RESTART_COUNT" ] || srun -n1 {command} trainer.max_epochs=1 || exit 1'
    # The step of the second start must have the number of the first: so only one runs in each.
    second = f"srun -n1 {command}"
    script.write_text(f"#!/bin/bash\ncd {PROJECT_ROOT}\n{first}\n{requeue}\n{second}\n")
    submit = ["sbatch", "--wait", "--requeue", f"--output={tmp_path}/slurm.txt", str(script)]
    subprocess.run(submit, check=True)
    (folder,) = (tmp_path / "train/runs").iterdir()
    steps = seen(folder)[0]["step"]
    assert steps == 3, (tmp_path / "slurm.txt").read_text()  # of three batches an epoch


@needs_slurm
def test_a_job_of_a_sweep_that_is_pre_empted_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    command = (sys.executable, "src/train.py", "-m", "seed=1", "hydra/launcher=submitit_slurm")
    settings = (*ONE_PROCESS, "trainer.max_epochs=300", f"paths.log_dir={tmp_path}")
    sweep = subprocess.Popen([*command, *settings], cwd=PROJECT_ROOT)
    try:
        while not (found := list(tmp_path.glob("train/multiruns/*/0/checkpoints/last.ckpt"))):
            assert sweep.poll() is None
            time.sleep(0.1)
        (last,) = found
        (script,) = last.parents[2].glob(".submitit/*/*_submission.sh")
        number = script.name.partition("_")[0]
        subprocess.run(["scontrol", "requeue", number], check=True)
        at_once = ["scontrol", "update", f"JobId={number}", "StartTime=now"]  # not in two minutes
        while subprocess.run(at_once, capture_output=True).returncode:
            time.sleep(0.5)
        assert sweep.wait(300) == 0
    finally:
        sweep.kill()
    entry = record.read(last.parents[1])
    assert entry
    assert (entry["status"], entry["resumed"]) == ("finished", 1)
    assert "goes on from last.ckpt" in (last.parents[1] / "train.log").read_text()
