"""A loss that is not finite: the run stops and says where, or the batch is passed over."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from src.runtime.build import Objects, build
from tests.conftest import SMALL, Compose

RUN = (*SMALL, "data.batch_size=32", "callbacks.last_checkpoint.every_n_steps=1")


class Poison(Callback):
    """Make the loss of the fourth batch NaN: by its images, or by the weights of the loss."""

    def __init__(self, images: bool) -> None:
        self.images = images

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Poison it."""
        loss: Any = pl_module.loss
        loss.weight = None
        if batch_idx == 3 and self.images:
            batch[0].fill_(float("nan"))
        elif batch_idx == 3:
            loss.weight = torch.full((10,), float("inf"))


def fit(objects: Objects, images: bool) -> None:
    """Fit with a poisoned batch."""
    trainer: Any = objects["trainer"]
    trainer.callbacks.insert(0, Poison(images))
    trainer.fit(objects["model"], objects["datamodule"])


def test_the_run_stops_before_the_weights_are_spoilt(composed: Compose, tmp_path: Path) -> None:
    objects = build(composed(*RUN))
    with pytest.raises(ValueError, match=r"loss is nan at step 3 \(epoch 0, batch 3\)") as error:
        fit(objects, images=False)
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert f"Last good checkpoint: {last}." in str(error.value)
    weights = torch.load(last, weights_only=True)["state_dict"].items()
    assert all(weight.isfinite().all() for name, weight in weights if name.startswith("net."))
    found = re.search(r"Indices in the training set: \[([\d, ]+)\]", str(error.value))
    assert found
    assert len({int(index) for index in found[1].split(",")}) == 32


def test_a_bad_batch_is_passed_over_if_asked(composed: Compose) -> None:
    objects = build(composed(*RUN, "callbacks.finite_loss.skip=true"))
    fit(objects, images=True)
    assert all(value.isfinite().all() for value in objects["model"].state_dict().values())
    metrics = objects["trainer"].callback_metrics
    assert metrics["train/loss"].isfinite()
    assert metrics["train/acc"].isfinite()
