"""What is left out of a step is what nobody wrote, and nothing else."""

from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loops import training_epoch_loop
from torch import nn

from src.data.digits_datamodule import DigitsDataModule
from src.models.mnist_module import MNISTLitModule
from src.runtime import lean_steps


class Silent(Callback):
    """Writes no hook; says when Lightning asks for its name, which it does to call one."""

    asked = 0

    @property
    def state_key(self) -> str:
        """Its name."""
        self.asked += 1
        return "Silent"


class Counting(Callback):
    """Counts the calls of one hook."""

    calls = 0

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Any) -> None:
        """Count."""
        self.calls += 1


class CountingModule(MNISTLitModule):
    """Likewise."""

    calls = 0

    def on_after_backward(self) -> None:
        """Count."""
        self.calls += 1


def fit(steps: int) -> tuple[Silent, Counting, CountingModule]:
    """Train for some steps with hooks left out."""
    silent, counting = Silent(), Counting()
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    model = CountingModule(net, partial(torch.optim.Adam, lr=0.001))
    trainer = Trainer(
        accelerator="cpu",
        max_steps=steps,
        callbacks=[silent, counting],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    lean_steps.prepare(trainer, model)
    trainer.fit(model, DigitsDataModule())
    return silent, counting, model


def test_hooks_that_somebody_wrote_are_called_and_others_cost_nothing() -> None:
    short, _, _ = fit(steps=2)
    long, counting, model = fit(steps=7)
    assert counting.calls == model.calls == 7
    inspected: Any = training_epoch_loop.is_param_in_hook_signature
    assert inspected.cache_info()[:2] == (6, 1)  # hits, misses
    assert short.asked == long.asked
