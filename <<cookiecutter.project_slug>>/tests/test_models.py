"""The LightningModule: its metrics are what a loop by hand would measure."""

import csv
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from src.train import train
from tests.conftest import SMALL, Compose


def test_metrics_of_an_epoch_are_those_of_all_its_images(composed: Compose) -> None:
    uneven = ("data.batch_size=60", "data.eval_batch_size=60")  # the last batch is smaller
    metrics, objects = train(composed(*SMALL, "test=false", "trainer.max_epochs=2", *uneven))
    model, datamodule = objects["model"].eval(), objects["datamodule"]
    with torch.no_grad():
        batches = [(model(images), labels) for images, labels in datamodule.val_dataloader()]
    logits, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert metrics["val/loss"].item() == pytest.approx(cross_entropy(logits, labels).item())
    assert metrics["val/acc"].item() == pytest.approx((logits.argmax(1) == labels).float().mean())


def test_trackers_are_told_the_loss_every_so_many_steps(composed: Compose, tmp_path: Path) -> None:
    settings = ("data.batch_size=32", "trainer.max_epochs=2", "+trainer.log_every_n_steps=3")
    train(composed(*SMALL, "test=false", "common/logger@logger=csv", *settings))
    with open(tmp_path / "csv" / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows if row["train/loss_step"]] == [2, 5, 8, 11, 14]
    assert sum(bool(row["train/loss"]) for row in rows) == 2
