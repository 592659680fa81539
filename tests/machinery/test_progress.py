"""The progress bar on a terminal, and the line per epoch everywhere."""

import logging
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from src.runtime import describe
from src.runtime.describe import ProgressBar
from src.runtime.project import PROJECT_ROOT

SMALL: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_model_summary": False,
}


class Module(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(2, 1)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = self.net(batch[0]).square().mean()
        self.log("train/loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val/acc", 0.25, prog_bar=True)

    def on_train_epoch_end(self) -> None:
        self.log("late", 1.5)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def loader() -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.ones(4, 2)), batch_size=2)


def lines_of(
    caplog: pytest.LogCaptureFixture, with_validation: bool = True, **kw: Any
) -> list[str]:
    """Return the lines about epochs that a training logs."""
    caplog.set_level(logging.INFO, logger=describe.__name__)
    trainer = Trainer(callbacks=[ProgressBar()], **SMALL | kw)
    trainer.fit(Module(), loader(), loader() if with_validation else None)
    return [record.getMessage() for record in caplog.records if record.name == describe.__name__]


def test_a_line_for_each_epoch_with_the_metrics_of_all_hooks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lines = lines_of(caplog, max_epochs=2)
    pattern = r"epoch {}/1: train/loss \S+  val/acc 0\.25  late 1\.5 \(\d+\.\d s\)"
    assert len(lines) == 2
    for number, line in enumerate(lines):  # from 0, as in the names of checkpoints
        assert re.fullmatch(pattern.format(number), line)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"fast_dev_run": True}, ["epoch 0/0: "]),
        ({"max_epochs": -1, "max_steps": 3}, ["epoch 0: ", "epoch 1: "]),
        ({"max_epochs": 1, "limit_val_batches": 0}, ["epoch 0/0: "]),
        ({"max_epochs": 0}, []),
    ],
)
def test_modes_of_the_trainer(
    settings: dict[str, Any], expected: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    lines = lines_of(caplog, **settings)
    assert [line[: len(start)] for line, start in zip(lines, expected, strict=True)] == expected


def test_without_validation(caplog: pytest.LogCaptureFixture) -> None:
    (line,) = lines_of(caplog, with_validation=False, max_epochs=1)
    assert "val" not in line


def test_an_interrupted_epoch_has_no_line(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Module):
        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            if self.current_epoch == 1:
                raise ValueError("broken")

    caplog.set_level(logging.INFO, logger=describe.__name__)
    trainer = Trainer(callbacks=[ProgressBar()], max_epochs=3, **SMALL)
    with pytest.raises(ValueError, match="broken"):
        trainer.fit(Failing(), loader())
    assert len([r for r in caplog.records if r.name == describe.__name__]) == 1


def test_a_resumed_epoch_has_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Saving(Module):
        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == 0:
                self.trainer.save_checkpoint(tmp_path / "within.ckpt")

    Trainer(max_epochs=1, **SMALL).fit(Saving(), loader())
    caplog.set_level(logging.INFO, logger=describe.__name__)
    trainer = Trainer(callbacks=[ProgressBar()], max_epochs=2, **SMALL)
    trainer.fit(Module(), loader(), ckpt_path=tmp_path / "within.ckpt")
    lines = [r.getMessage()[:9] for r in caplog.records if r.name == describe.__name__]
    assert lines == ["epoch 0/1", "epoch 1/1"]


def test_no_bar_where_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # set in CI, where it does not make a terminal
    assert ProgressBar().is_disabled


ON_A_TERMINAL = """
import logging, sys, time
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
sys.path[:0] = [{folder!r}, {project!r}]
import test_progress
from src.runtime.describe import ProgressBar

logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="[%(message)s]", force=True)

class Module(test_progress.Module):
    def training_step(self, batch, batch_idx):
        time.sleep(0.4)
        logging.getLogger("user").info("a message")
        return super().training_step(batch, batch_idx)

    def on_train_epoch_end(self):
        self.log("in_epoch", 100.0 + self.current_epoch, prog_bar=True)

settings = test_progress.SMALL | {{"logger": CSVLogger({logs!r})}}
bar = ProgressBar()
assert bar.is_enabled
trainer = Trainer(callbacks=[bar], max_epochs=2, log_every_n_steps=1, **settings)
trainer.fit(Module(), test_progress.loader(), test_progress.loader())
print("after")
"""


def test_on_a_terminal(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    folder, project = str(Path(__file__).parent), str(PROJECT_ROOT)
    names = {"folder": folder, "project": project, "logs": str(tmp_path)}
    script.write_text(ON_A_TERMINAL.format(**names))
    master, slave = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [sys.executable, str(script)], stdin=slave, stdout=slave, stderr=slave, env=environment
    )
    os.close(slave)
    shown = b""
    try:
        while chunk := os.read(master, 4096):
            shown += chunk
    except OSError:  # how Linux reports that the other end is closed
        pass
    assert process.wait(60) == 0, shown.decode()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert "Epoch 1/1 " in text
    assert "train/loss" in text
    assert re.findall(r"in_epoch:\s+(\S+)", text)[-1] == "101.000"  # of the last epoch
    assert "v_num" not in text
    lines = re.split(r"[\r\n]+", text)
    assert sum(line.strip() == "[a message]" for line in lines) == 4  # never behind the bar
    assert sum(line.startswith("[epoch ") for line in lines) == 2
    assert lines[-2] == "after"
