"""Several processes: one run, the whole set once, and no process left over."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from src.runtime.checkpoint.checkpoints import load_model
from src.runtime.identity import PROJECT_ROOT
from src.runtime.process import ranks
from src.runtime.process.distributed import EqualBatches, share_exactly

WITNESS = (sys.executable, "tests/witness.py", "+callbacks.witness._target_=tests.witness.Witness")
SMALL = (
    "data=digits",
    "data.batch_size=64",
    "seed=1",
    "trainer.max_epochs=1",
    "++trainer.limit_train_batches=3",
    "common/logger@logger=csv",
    "common/trainer@trainer=ddp_sim",
)
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
SRUN = ("srun", "--kill-on-bad-exit", "--ntasks=2", "--ntasks-per-node=2")
STARTS = {
    "python": (sys.executable,),
    "torchrun": (sys.executable, *TORCHRUN),
    "srun": (*SRUN, sys.executable),
}
END_SECONDS = 60  # that a run may take to notice that one of its processes is gone


def run(tmp_path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's root, with its logs in `tmp_path`."""
    return subprocess.run(
        [*command, f"paths.log_dir={tmp_path}"], cwd=PROJECT_ROOT, capture_output=True, text=True
    )


def seen(folder: Path) -> list[dict[str, Any]]:
    """Return what each rank wrote down."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("rank_*.json"))]


@pytest.mark.parametrize(
    ("samples", "batch_size", "processes"),
    [(250, 64, 2), (129, 64, 2), (10_000, 64, 3), (5, 2, 4), (8, 8, 8)],
)
def test_shares_are_exact_and_of_as_many_batches(
    samples: int, batch_size: int, processes: int
) -> None:
    loader = share_exactly(
        DataLoader(TensorDataset(torch.arange(samples)), batch_size=batch_size), processes
    )
    assert isinstance(loader.batch_sampler, EqualBatches)
    shares = [
        list(
            EqualBatches(
                DistributedSampler(loader.dataset, processes, rank, shuffle=False),
                batch_size,
                drop_last=False,
            )
        )
        for rank in range(processes)
    ]
    assert sorted(i for share in shares for batch in share for i in batch) == list(range(samples))
    assert len({len(share) for share in shares}) == 1
    assert all(0 < len(batch) <= batch_size for share in shares for batch in share)


def test_a_set_that_cannot_be_shared_is_said(caplog: pytest.LogCaptureFixture) -> None:
    loader = DataLoader(TensorDataset(torch.arange(3)), batch_size=1)
    assert share_exactly(loader, 2) is loader
    assert "the metrics count those twice" in caplog.text


@pytest.mark.parametrize(
    ("environ", "rank"),
    [
        ({}, 0),
        ({"LOCAL_RANK": "1"}, 1),
        ({"TORCHELASTIC_RUN_ID": "none", "RANK": "3", "LOCAL_RANK": "1"}, 3),
        ({"SLURM_NTASKS": "2", "SLURM_STEP_ID": "0", "SLURM_PROCID": "1"}, 1),
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, 0),  # the batch script itself
    ],
)
def test_rank_is_known_without_torch(environ: dict[str, str], rank: int) -> None:
    assert ranks.global_rank(environ) == rank


def test_a_sweep_under_torchrun_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(ValueError, match="cannot run under torchrun"):
        ranks.arguments_of_this_rank(["-m", "seed=1,2"])


@pytest.mark.slow
@pytest.mark.parametrize("start", ["python", "torchrun"])
def test_two_processes_make_one_run_and_test_each_image_once(tmp_path: Path, start: str) -> None:
    result = run(tmp_path, *STARTS[start], *WITNESS[1:], *SMALL)
    assert result.returncode == 0, result.stderr
    (folder,) = (tmp_path / "train/runs").iterdir()
    assert [path.name for path in folder.rglob("*.log")] == ["train.log"]
    assert len(list(folder.rglob("metrics.csv"))) == 1
    assert result.stdout.count("run directory") == 1
    log = (folder / "train.log").read_text()
    assert log.count("Effective batch size 128 = 64 x 2 processes x 1 accumulated") == 1
    both = seen(folder)
    assert len(both) == 2
    assert both[0]["split"] == both[1]["split"]

    best = next((folder / "checkpoints").glob("epoch_*.ckpt"))
    alone = run(tmp_path, *WITNESS, *SMALL[:-1], "train=false", f"ckpt_path={best}", "task_name=a")
    assert alone.returncode == 0, alone.stderr
    (other,) = (tmp_path / "a/runs").iterdir()
    assert sorted(both[0]["test"] + both[1]["test"]) == sorted(seen(other)[0]["test"])
    metrics = [json.loads((path / "run.json").read_text())["metrics"] for path in (folder, other)]
    for name in ("test/acc", "test/loss"):
        assert metrics[0][name] == pytest.approx(metrics[1][name], rel=1e-6)


@pytest.mark.slow
def test_each_rank_of_each_job_of_a_sweep_trains_with_the_parameters_of_its_job(
    tmp_path: Path,
) -> None:
    result = run(
        tmp_path, *WITNESS, *SMALL, "hydra.mode=MULTIRUN", "model.optimizer.lr=0.001,0.002,0.003"
    )
    assert result.returncode == 0, result.stderr
    (sweep,) = (tmp_path / "train/multiruns").iterdir()
    rates = [[rank["lr"] for rank in seen(sweep / job)] for job in "012"]
    assert rates == [[0.001] * 2, [0.002] * 2, [0.003] * 2]
    assert not (tmp_path / "train/runs").exists()


@pytest.mark.slow
def test_each_rank_of_each_trial_of_a_search_trains_with_the_parameters_of_its_trial(
    tmp_path: Path,
) -> None:
    optuna = pytest.importorskip("optuna")
    search = ("common/search=mnist_optuna", "hydra.sweeper.n_trials=3", "hydra.mode=MULTIRUN")
    file = f"hydra.sweeper.experiment_file={tmp_path}/best.yaml"
    result = run(tmp_path, *WITNESS, *SMALL, *search, file)
    assert result.returncode == 0, result.stderr
    url = f"sqlite:///{tmp_path}/optuna/optuna.db"
    trials = optuna.load_study(study_name="mnist", storage=url).trials
    drawn = [trial.params["model.optimizer.lr"] for trial in trials]
    assert len(set(drawn)) == 3
    folders = [tmp_path / f"train/multiruns/mnist/{trial.number}" for trial in trials]
    assert [[rank["lr"] for rank in seen(folder)] for folder in folders] == [[x] * 2 for x in drawn]


@pytest.mark.slow
def test_a_sharded_model_is_loaded_by_one_process(tmp_path: Path) -> None:
    sharded = ("common/trainer@trainer=fsdp", "trainer.accelerator=cpu", "trainer.devices=2")
    small_parts = ("trainer.strategy.min_parameters=5000", "trainer.max_epochs=2")
    result = run(tmp_path, *WITNESS, *SMALL[:-1], *sharded, *small_parts)
    assert result.returncode == 0, result.stderr
    (folder,) = (tmp_path / "train/runs").iterdir()
    best = next((folder / "checkpoints").glob("epoch_*.ckpt"))
    model = load_model(best)
    assert all(type(parameter) is torch.nn.Parameter for parameter in model.parameters())
    alone = run(tmp_path, sys.executable, "src/eval.py", f"ckpt_path={best}")
    assert alone.returncode == 0, alone.stderr
    (other,) = (tmp_path / "eval/runs").iterdir()
    metrics = [json.loads((path / "run.json").read_text())["metrics"] for path in (folder, other)]
    assert metrics[1]["test/acc"] == pytest.approx(metrics[0]["test/acc"])


@pytest.mark.slow
def test_processes_inside_a_joblib_job_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    result = run(
        tmp_path, *WITNESS, *SMALL, "hydra.mode=MULTIRUN", "seed=1,2", "hydra/launcher=joblib"
    )
    assert result.returncode != 0
    assert "cannot start its processes inside a job of JoblibLauncher" in result.stdout


def processes(tmp_path: Path) -> dict[str, psutil.Process]:
    """Return the processes of a run, by rank; what starts them, and was told none, has rank 0."""
    found = {}
    for process in psutil.process_iter(["cmdline", "environ"]):
        environ = process.info["environ"] or {}
        if f"paths.log_dir={tmp_path}" in (process.info["cmdline"] or []):
            found[environ.get("LOCAL_RANK") or environ.get("SLURM_PROCID", "0")] = process
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "victim"), [("python", "0"), ("python", "1"), ("torchrun", "1"), ("srun", "1")]
)
def test_a_process_that_dies_takes_the_run_with_it(
    tmp_path: Path, start: str, victim: str, record_property: Callable[[str, object], None]
) -> None:
    if start == "srun" and "SLURM_CONF" not in os.environ:
        pytest.skip("no SLURM: scripts/slurm_one_node.sh sets one up")
    endless = (*SMALL[:3], *SMALL[4:], "trainer.max_epochs=-1", "~callbacks.early_stopping")
    process = subprocess.Popen(
        [*STARTS[start], *WITNESS[1:], *endless, f"paths.log_dir={tmp_path}"],
        cwd=PROJECT_ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not list(tmp_path.rglob("epoch_*.ckpt")):
        assert process.poll() is None
        time.sleep(0.5)
    os.kill(processes(tmp_path)[victim].pid, signal.SIGKILL)
    killed = time.monotonic()
    process.wait(END_SECONDS)
    while processes(tmp_path):
        assert time.monotonic() - killed < END_SECONDS
        time.sleep(0.1)
    record_property("seconds", time.monotonic() - killed)  # pytest --junit-xml shows them
    assert process.returncode != 0


def test_other_ranks_add_their_overrides_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv(ranks.RUN_DIR, "/a b")
    arguments = ranks.arguments_of_this_rank(["seed=1", "--config-dir", "mine"])
    assert arguments[0] == "seed=1"
    assert arguments[-2:] == ["--config-dir", "mine"]
    assert "hydra.run.dir='/a b'" in arguments
