"""Several processes make one run; in a sweep each job has its own, and none is left over."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
import torch
from processes import TRAIN, record, run, run_folders, start, wait_for

from src.runtime import distributed
from src.runtime.project import ConfigError

TWO = ("trainer=ddp_sim", "trainer.max_epochs=1", "+trainer.limit_train_batches=4")
TORCHRUN = (
    *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
    "src/train.py",
)


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        ({}, 0),
        ({"LOCAL_RANK": "1"}, 1),
        ({"TORCHELASTIC_RUN_ID": "none", "RANK": "3", "LOCAL_RANK": "1"}, 3),
        ({"SLURM_NTASKS": "2", "SLURM_STEP_ID": "0", "SLURM_PROCID": "1"}, 1),
        ({"SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, 0),  # the batch script itself
    ],
)
def test_the_rank_is_known_without_torch(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], rank: int
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert distributed.global_rank() == rank


def test_a_sweep_under_torchrun_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(ConfigError, match="cannot run under torchrun"):
        distributed.disable_hydra_files_unless_rank_zero(["-m", "seed=1,2"])


@pytest.mark.parametrize("command", [TRAIN, TORCHRUN], ids=["python", "torchrun"])
def test_two_processes_make_one_run(tmp_path: Path, command: tuple[str, ...]) -> None:
    output = run(tmp_path, *TWO, command=command)
    (folder,) = run_folders(tmp_path)
    assert record(folder)["status"] == "finished"
    assert [path.name for path in folder.rglob("*.log")] == ["train.log"]
    assert "128 (of all processes" in output
    assert output.count("status:      finished") == 1
    last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 4
    assert len(last["exact_resume"]["random"]) == 2


@pytest.mark.parametrize("command", [TRAIN, TORCHRUN], ids=["python", "torchrun"])
def test_a_run_of_two_processes_continues(tmp_path: Path, command: tuple[str, ...]) -> None:
    process = start(tmp_path, "trainer=ddp_sim", "trainer.max_epochs=1000", command=command)
    wait_for(lambda: list(tmp_path.rglob("last.ckpt")))
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    process.kill()
    process.wait()
    (folder,) = run_folders(tmp_path)
    reached = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["epoch"]
    epochs = f"trainer.max_epochs={reached + 3}"
    output = run(tmp_path, "ckpt_path=last", "trainer=ddp_sim", epochs, command=command)
    assert output.count("128 (of all processes") == 2
    assert run_folders(tmp_path) == [folder]
    assert record(folder)["status"] == "finished"
    assert record(folder)["resumed"] == 1


def test_the_learning_rate_is_scaled_once(tmp_path: Path) -> None:
    scaled = (
        *("model.scale_lr=true", "+trainer.accumulate_grad_batches=2"),
        *("model.optimizer.lr=0.001", "model/scheduler=one_cycle", "model.scheduler.total_steps=8"),
    )
    rates = []
    typed = [*TWO, *scaled]
    for _ in range(2):
        output = run(tmp_path, *typed)
        (folder,) = run_folders(tmp_path)
        typed = [f"ckpt_path={folder}", "trainer=ddp_sim", "trainer.max_epochs=3"]
        last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
        (group,) = last["optimizer_states"][0]["param_groups"]
        assert group["max_lr"] == pytest.approx(0.004)
        rates.append((last["global_step"], group["lr"]))
    assert output.count("learning rate: multiplied by 4") == 2  # once a command
    weight = torch.nn.Parameter(torch.zeros(1))
    by_hand = torch.optim.lr_scheduler.OneCycleLR(torch.optim.Adam([weight]), 0.004, 8)
    for _ in range(6):
        by_hand.optimizer.step()
        by_hand.step()
        if by_hand.last_epoch in (2, 6):
            assert rates.pop(0) == (by_hand.last_epoch, pytest.approx(by_hand.get_last_lr()[0]))


@pytest.mark.slow
def test_each_job_of_a_sweep_trains_in_processes_of_its_own(tmp_path: Path) -> None:
    run(tmp_path, *TWO, "-m", "model.optimizer.lr=0.001,0.002", "optimized_metric=val/acc")
    folders = run_folders(tmp_path)
    assert [folder.name for folder in folders] == ["0", "1"]
    for folder, rate in zip(folders, (0.001, 0.002), strict=True):
        last = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
        assert last["run_config"]["model"]["optimizer"]["lr"] == rate
        assert last["global_step"] == 4
    assert not (tmp_path / "train" / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_no_process_outlives_its_run(tmp_path: Path, name: str) -> None:
    process = start(tmp_path, "trainer=ddp_sim", "trainer.max_epochs=1000")
    wait_for(lambda: list(tmp_path.rglob("last.ckpt")))
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(getattr(signal, name))
    assert process.wait(60) == (143 if name == "SIGTERM" else -9)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive, os.linesep.join(map(str, alive))
    (folder,) = run_folders(tmp_path)
    assert (folder / "checkpoints" / "last.ckpt").exists()
