"""Ctrl-C, SIGTERM and SIGUSR1 leave a checkpoint, a true record, and an exit code that tells."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from src.runtime import build, record, signals
from src.runtime.identity import PROJECT_ROOT
from src.train import train
from tests.conftest import SMALL, Compose

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no such signals")


@pytest.fixture(autouse=True)
def as_in_the_foreground() -> Iterator[None]:
    """Take Ctrl-C as a shell's foreground does: to what it starts with `&` it is nothing."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


SIGNALS = [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 143)]


class SignalAt(Callback):
    """Send a signal to this process, in a hook, and by a stranger to its children.

    As a terminal does, and a batch system.
    """

    def __init__(self, name: str, hook: str, times: int = 1) -> None:
        self.number, self.times = getattr(signal, name), times
        setattr(self, hook, self.send)

    def send(self, trainer: Trainer, pl_module: LightningModule, *_: Any, **__: Any) -> None:
        """Send it: in the third batch, where there are batches."""
        if trainer.training and trainer.fit_loop.batch_idx != 2:
            return
        try:
            if workers := [worker.pid for worker in psutil.Process().children()]:
                script = f"import os; [os.kill(pid, {int(self.number)}) for pid in {workers}]"
                subprocess.run([sys.executable, "-c", script], check=True)
            for _time in range(self.times):
                os.kill(os.getpid(), self.number)
        except signals.Interrupted:
            if trainer.training:
                raise  # elsewhere it is lost, as in a `__del__`


@pytest.fixture
def train_with(composed: Compose, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that trains with another callback, and returns the code that it ends by."""

    def trained(callback: Callback, *overrides: str) -> Any:
        real = build.build

        def built(cfg: Any) -> build.Objects:
            objects = real(cfg)
            callbacks: Any = objects["trainer"].callbacks  # ty: ignore[missing-attribute]
            callbacks.append(callback)
            return objects

        monkeypatch.setattr(build, "build", built)
        with pytest.raises(signals.Interrupted) as interrupted:
            train(composed(*SMALL, "data.batch_size=32", *overrides))
        return interrupted.value.code

    return trained


@pytest.mark.parametrize(("name", "code"), SIGNALS)
def test_a_signal_waits_for_a_checkpoint(
    train_with: Any, tmp_path: Path, name: str, code: int
) -> None:
    before = signal.getsignal(getattr(signal, name))
    assert train_with(SignalAt(name, "on_train_batch_start"), "data.num_workers=1") == code
    assert signal.getsignal(getattr(signal, name)) == before
    checkpoint = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 3
    entry = record.read(tmp_path)
    assert entry is not None
    assert (entry["status"], entry["error"]) == ("killed", name)


def test_a_second_one_waits_for_nothing(train_with: Any, tmp_path: Path) -> None:
    assert train_with(SignalAt("SIGINT", "on_train_batch_start", times=2)) == 130
    assert not (tmp_path / "checkpoints" / "last.ckpt").exists()


@pytest.mark.parametrize("hook", ["setup", "on_test_start"])
def test_a_signal_whose_exception_is_lost_ends_the_run_all_the_same(
    train_with: Any, tmp_path: Path, hook: str
) -> None:
    assert train_with(SignalAt("SIGTERM", hook)) == 143
    entry = record.read(tmp_path)
    assert entry is not None
    assert entry["status"] == "killed"


class Started:
    """`src/train.py` in a process group of its own."""

    def __init__(self, log_dir: Path, data_dir: Path, *overrides: str) -> None:
        self.log_dir, self.output = log_dir, log_dir / "output"
        paths = (f"paths.log_dir={log_dir}", f"paths.data_dir={data_dir}")
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "src/train.py", *overrides, *paths, "trainer.accelerator=cpu"],
                cwd=PROJECT_ROOT,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def signalled(self, name: str, when: Any) -> int:
        """Send the group a signal as soon as `when()` is true; return the exit code."""
        while not when():
            assert self.process.poll() is None, self.output.read_text()
            time.sleep(0.01)
        os.killpg(self.process.pid, getattr(signal, name))
        return self.process.wait(60)

    def found(self, pattern: str) -> list[Path]:
        """Return what lies in the folder of logs."""
        return sorted(self.log_dir.glob(pattern))


@pytest.mark.slow
def test_a_run_that_is_told_to_go_while_it_imports_torch_leaves_a_record(
    tmp_path: Path, mnist_dir: Path
) -> None:
    run = Started(tmp_path, mnist_dir)
    begun = "train/runs/*/.hydra/overrides.yaml"  # the last thing that Hydra writes

    def importing() -> bool:
        found = run.found(begun)
        time.sleep(0.2)
        return bool(found)

    assert run.signalled("SIGTERM", importing) == 143
    assert "Traceback" not in run.output.read_text()
    (run_dir,) = run.found("train/runs/*")
    entry = record.read(run_dir)
    assert entry is not None
    assert (entry["status"], entry["error"]) == ("killed", "SIGTERM")


ENDLESS = ("data.val_size=64", "data.batch_size=16", "trainer.max_epochs=-1", "data.num_workers=2")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), SIGNALS)
def test_a_real_run_tells_its_tracker_and_goes_on(
    tmp_path: Path, mnist_dir: Path, name: str, code: int
) -> None:
    from mlflow import MlflowClient

    run = Started(tmp_path, mnist_dir, *ENDLESS, "common/logger@logger=mlflow")
    assert run.signalled(name, lambda: run.found("train/runs/*/checkpoints/last.ckpt")) == code
    assert "Traceback" not in run.output.read_text()
    (last,) = run.found("train/runs/*/checkpoints/last.ckpt")
    epoch = torch.load(last, weights_only=True)["epoch"]
    entry = record.read(last.parents[1])
    assert entry is not None
    assert (entry["status"], entry["error"]) == ("killed", name)
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow/mlflow.db")
    run_id = record.mlflow_run_id(last.parents[1])
    assert run_id
    assert client.get_run(run_id).info.status == "KILLED"

    again = Started(tmp_path, mnist_dir, "ckpt_path=last", f"trainer.max_epochs={epoch + 3}")
    assert again.process.wait(120) == 0
    assert f"MLflow: goes on in the run {run_id}" in again.output.read_text()
    (entry_now,) = [record.read(path) for path in run.found("train/runs/*")]
    assert entry_now is not None
    assert (entry_now["status"], entry_now["resumed"]) == ("finished", 1)
    assert record.mlflow_run_id(last.parents[1]) == run_id
    assert client.get_run(run_id).info.status == "FINISHED"


@pytest.mark.slow
def test_ctrl_c_ends_a_whole_sweep_and_the_same_command_finishes_it(
    tmp_path: Path, mnist_dir: Path
) -> None:
    sweep = (
        *("-m", "model.optimizer.lr=0.001,0.01,0.1", "sweep_name=lr_grid"),
        *(*SMALL, "data.batch_size=16", "trainer.max_epochs=20", "seed=0"),
    )
    run = Started(tmp_path, mnist_dir, *sweep)
    second = "train/multiruns/lr_grid/1/checkpoints/last.ckpt"
    assert run.signalled("SIGINT", lambda: run.found(second)) == 130
    told = run.output.read_text()
    assert "sweep lr_grid: 1 done, 0 failed, 2 left" in told
    assert "Traceback" not in told
    entries = [record.read(path) for path in run.found("train/multiruns/lr_grid/[0-9]*")]
    assert [entry and entry["status"] for entry in entries] == ["finished", "killed"]

    again = Started(tmp_path, mnist_dir, *sweep)
    assert again.process.wait(180) == 0
    entries = [record.read(path) for path in run.found("train/multiruns/lr_grid/[0-9]*")]
    assert [entry and (entry["status"], entry["resumed"]) for entry in entries] == [
        ("finished", 0),
        ("finished", 1),
        ("finished", 0),
    ]
