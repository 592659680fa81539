"""The other trackers: what a run leaves there, read back with each tool's own reader."""

import csv
import logging
import struct
import time
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch.loggers import CSVLogger, Logger

from src.runtime.config import extras
from src.runtime.identity import PROJECT_ROOT
from src.runtime.tracker.trackers import guarded
from src.train import train
from tests.conftest import SMALL as SMALL_RUN
from tests.conftest import Compose

SMALL = (*SMALL_RUN, "+token=${oc.env:CANARY}")
METRICS = {"train/loss", "val/acc", "test/acc", "lr-Adam", "speed/samples_per_second"}
PARAMETERS = {"data.batch_size", "params/total", "command", "host", "versions/torch", "token"}

BLOCK = 32 * 1024
CANARY = "canary-662607"


@pytest.fixture(autouse=True)
def no_secret_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[None]:
    """Look for the environment's secret in all that a test has written and printed."""
    monkeypatch.setenv("CANARY", CANARY)
    yield
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]
    assert CANARY not in "".join(capfd.readouterr())


def test_csv(composed: Compose, tmp_path: Path) -> None:
    train(composed(*SMALL, "common/logger@logger=csv"))
    with (tmp_path / "csv" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {name for row in rows for name, value in row.items() if value} >= METRICS
    hparams = yaml.safe_load((tmp_path / "csv" / "hparams.yaml").read_text())
    assert hparams.keys() >= PARAMETERS


def test_tensorboard(composed: Compose, tmp_path: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(composed(*SMALL, "common/logger@logger=tensorboard"))
    events = reader.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) >= METRICS
    images = {"val/predictions", "test/confusion_matrix", "test/worst_mistakes"}
    assert set(events.Tags()["images"]) >= images
    assert {"config.yaml/text_summary", "tags/text_summary"} <= set(events.Tags()["tensors"])
    hparams = yaml.safe_load((tmp_path / "tensorboard" / "hparams.yaml").read_text())
    assert hparams.keys() >= PARAMETERS


def records_of_wandb(path: Path) -> Iterator[Any]:
    """Yield the records of an offline run, parsed by W&B's own protobuf classes.

    The frames around them are those of LevelDB's log: blocks of 32 KiB, in which each piece of a
    record follows its checksum, length and type (1: whole, 2: first, 3: middle, 4: last).
    """
    from wandb.proto import wandb_internal_pb2 as wandb_pb2

    data, position, whole = path.read_bytes(), 7, b""
    while position + 7 <= len(data):
        if (left := BLOCK - position % BLOCK) < 7:
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        whole += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            yield wandb_pb2.Record.FromString(whole)  # ty: ignore[missing-attribute]
            whole = b""


@pytest.mark.slow
def test_wandb_offline(composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))  # nobody has logged in here
    patient = "+logger.wandb.init_timeout=60"  # of a machine that has other work
    train(composed(*SMALL, "common/logger@logger=wandb", patient))
    wandb.finish()
    (path,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    last = time.monotonic() + 30  # its own process writes the end of the file when it likes
    while not any(record.HasField("exit") for record in records_of_wandb(path)):
        assert time.monotonic() < last
        time.sleep(0.1)
    metrics: set[str] = set()
    config: set[str] = set()
    for record in records_of_wandb(path):
        metrics |= {"/".join(item.nested_key) or item.key for item in record.history.item}
        config |= {item.key for item in record.config.update}
    assert metrics >= METRICS | {"val/predictions/filenames", "test/confusion_matrix/filenames"}
    assert config >= PARAMETERS


def test_a_tracker_that_is_not_installed_says_how_to_install_it(
    composed: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="uv sync --extra tensorboard"):
        train(composed(*SMALL, "common/logger@logger=tensorboard"))


def test_extras_that_are_named_are_there() -> None:
    text = (PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8")
    optional = tomllib.loads(text)["project"]["optional-dependencies"]
    there = {f"uv sync --extra {name}" for name in optional}
    named = {extra for _, extra in extras.EXTRAS.values()}
    named |= {extra for extra, modules in extras.EXPORTS.values() if modules}
    commands = {command for _, command in extras.PLUGINS.values()} - {extras.PRE_RELEASE}
    assert there >= {f"uv sync --extra {name}" for name in named} | commands


class Failing(CSVLogger):
    """A tracker whose disk is full."""

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Fail."""
        raise OSError("No space left on device")

    @property
    def experiment(self) -> Any:
        """Fail."""
        raise ConnectionError("no such host")


def test_a_tracker_that_fails_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logger: Logger = guarded(Failing(str(tmp_path)))
    assert isinstance(logger, CSVLogger)
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            logger.log_metrics({"loss": 1.0}, step)
        logger.experiment.log_text("anything")
        logger.finalize("success")
    assert caplog.text.count("Failing failed (OSError: No space left on device)") == 1
