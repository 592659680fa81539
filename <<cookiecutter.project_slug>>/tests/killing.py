"""Callbacks that make a run random, and that kill it."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class Killed(BaseException):
    """Nobody gets to write anything."""


class Noise(Callback):
    """Random noise on the first weights, as dropout would."""

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Add it."""
        with torch.no_grad():
            first = next(pl_module.parameters())
            first.add_(torch.randn_like(first), alpha=1e-3)


class KillAt(Callback):
    """Kill the run at a hook, the n-th time."""

    def __init__(self, hook: str, n: int) -> None:
        self.left = n
        setattr(self, hook, self.count)

    def count(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """Count down."""
        if trainer.sanity_checking:
            return
        self.left -= 1
        if self.left == 0:
            raise Killed
