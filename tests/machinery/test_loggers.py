"""Loggers write what was logged, survive what fails, and go on after a resume."""

import json
import logging
import pickle
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.loggers import Logger

from src.runtime.loggers import (
    CSVLogger,
    FailSafeLogger,
    JSONLinesLogger,
    TensorBoardLogger,
    WandbLogger,
)
from src.runtime.mlflow_logger import MLflowLogger
from src.runtime.mlflow_run import METRICS, STATE
from src.runtime.mlflow_upload import run_page_url
from src.runtime.project import read_json


def rows_of(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / METRICS).read_text().splitlines()]


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """Let no file become larger than one that exists."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def test_the_journal_has_each_row_at_once(tmp_path: Path) -> None:
    journal = JSONLinesLogger(tmp_path)
    journal.log_metrics({"loss": 0.5, "nan": float("nan")}, step=3)
    (row,) = rows_of(tmp_path)
    assert row["step"] == 3
    assert row["metrics"]["loss"] == 0.5
    assert row["time"] > 1e12
    journal.experiment.log_image("anything", 1)  # goes nowhere, and does not fail


def test_rows_wait_in_memory_for_room_on_the_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    journal = JSONLinesLogger(tmp_path)
    journal.log_metrics({"loss": 0.0}, step=0)
    with full_disk(tmp_path / METRICS):
        for step in range(1, 50):
            journal.log_metrics({"loss": float(step)}, step=step)
    journal.log_metrics({"loss": 50.0}, step=50)
    assert [row["step"] for row in rows_of(tmp_path)] == list(range(51))
    assert len(caplog.records) == 1


def test_a_row_that_a_power_failure_cut_stays_alone(tmp_path: Path) -> None:
    (tmp_path / METRICS).write_text('{"time": 1, "st')
    JSONLinesLogger(tmp_path).log_metrics({"loss": 1.0}, step=1)
    cut, whole = (tmp_path / METRICS).read_text().splitlines()
    assert cut == '{"time": 1, "st'
    assert json.loads(whole)["step"] == 1


def test_what_a_resumed_run_logs_again_is_there_once(tmp_path: Path) -> None:
    killed = JSONLinesLogger(tmp_path)
    for step in range(10):
        killed.log_metrics({"loss": 1 / (1 + step)}, step)
    killed.log_metrics({"val/acc": 0.5}, 9)
    resumed = JSONLinesLogger(tmp_path)
    for step in range(5, 15):  # its checkpoint was of step 5
        resumed.log_metrics({"loss": 1 / (1 + step)}, step)
    resumed.log_metrics({"val/acc": 0.6, "loss": 1 / 10}, 9)
    losses = [row for row in rows_of(tmp_path) if "loss" in row["metrics"]]
    assert [row["step"] for row in losses] == list(range(15))
    accuracies = [
        row["metrics"]["val/acc"]
        for row in rows_of(tmp_path)
        if len(row) and "val/acc" in row["metrics"]
    ]
    assert accuracies == [0.5, 0.6]  # another value is another measurement


class Broken(Logger):
    """A tracker of which nothing works."""

    name = version = ""

    @property
    def experiment(self) -> Any:
        raise ConnectionError("no network")

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        raise ConnectionError("no network")

    def log_hyperparams(self, params: Any) -> None:
        raise ConnectionError("no network")

    def save(self) -> None:
        raise OSError("no space")

    def finalize(self, status: str) -> None:
        raise OSError("no space")


class SafeBroken(FailSafeLogger, Broken):
    """The same, made safe as `WandbLogger` is."""


def fit(tmp_path: Path, *loggers: Logger, **settings: Any) -> Trainer:
    trainer = Trainer(
        default_root_dir=tmp_path,
        logger=[*loggers, JSONLinesLogger(tmp_path)],
        max_epochs=1,
        accelerator="cpu",
        limit_train_batches=4,
        limit_val_batches=1,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    trainer.fit(Logging())
    return trainer


class Logging(BoringModel):
    """Logs each step, and uses its tracker as modules do."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)["loss"]
        self.log("train/loss", loss)
        self.logger.experiment.log_something("x", 1)
        return loss


@pytest.mark.filterwarnings("ignore")
def test_a_tracker_that_fails_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="src"):
        fit(tmp_path, SafeBroken())
    warnings = [record for record in caplog.records if record.name == "src.runtime.loggers"]
    assert len(warnings) == 1
    assert "SafeBroken is disabled for this run: ConnectionError('no network')" in caplog.text
    assert len([row for row in rows_of(tmp_path) if "train/loss" in row["metrics"]]) == 4


def test_loggers_can_be_pickled(tmp_path: Path) -> None:
    used: list[Logger] = [
        JSONLinesLogger(tmp_path),
        CSVLogger(tmp_path),
        TensorBoardLogger(str(tmp_path)),
    ]
    used.append(MLflowLogger(tmp_path, "some", f"sqlite:///{tmp_path}/mlflow.db"))
    used[0].log_metrics({"loss": 1.0}, 1)
    for logger in used:
        copy = pickle.loads(pickle.dumps(logger))
        copy.log_metrics({"loss": 2.0}, 2)
        copy.finalize("success")
    assert len(rows_of(tmp_path)) == 2


def test_wandb_has_a_run_for_each_folder_which_a_resume_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    ids = []
    for job in ("0", "1", "1"):
        logger = WandbLogger(str(tmp_path / job), project="some", mode="offline")
        logger.log_metrics({"loss": 1.0}, step=1)
        logger.finalize("success")
        assert wandb.run.id == logger.version
        ids.append(logger.version)
    wandb.finish()
    assert ids[0] != ids[1] == ids[2]
    assert list(tmp_path.glob("0/wandb/offline-run-*"))
    assert list(tmp_path.glob(f"1/wandb/offline-run-*-{ids[1]}"))


@pytest.mark.filterwarnings("ignore")
def test_wandb_without_an_account_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with caplog.at_level(logging.WARNING, logger="src"):
        fit(tmp_path, WandbLogger(str(tmp_path), project="some"))
    assert caplog.text.count("WandbLogger is disabled") == 1


def test_the_page_of_a_run_on_a_server(tmp_path: Path) -> None:
    assert run_page_url(tmp_path) is None
    state = {"uri": "http://host:5000", "experiment_id": "1", "run_id": "abc"}
    (tmp_path / STATE).write_text(json.dumps(state))
    page = run_page_url(tmp_path)
    assert page
    assert page.startswith("http://host:5000/#/experiments/1/runs/abc/")
    assert "workflowType=machine_learning" in page


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("logger", ["csv", "tensorboard", "many_loggers", "none"])
def test_a_run_with_each_logger(compose_train: Any, tmp_path: Path, logger: str) -> None:
    if logger in ("tensorboard", "many_loggers"):
        pytest.importorskip("tensorboard")
    from src.train import train

    database = f"logger.mlflow.tracking_uri=sqlite:///{tmp_path}/mlflow.db"
    uri = [database] if logger == "many_loggers" else []
    train(compose_train(f"logger={logger}", *uri))
    (run_dir,) = (tmp_path / "logs" / "train" / "runs").iterdir()
    assert any("test/loss" in row["metrics"] for row in rows_of(run_dir))
    assert bool(list(run_dir.glob("csv/*/metrics.csv"))) == (logger in ("csv", "many_loggers"))
    assert read_json(run_dir / "run.json")["status"] == "finished"
