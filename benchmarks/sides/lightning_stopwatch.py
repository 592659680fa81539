"""The stopwatch as a Lightning callback."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from stopwatch import Stopwatch


def wait() -> None:
    """Wait for the GPU, where there is one at work."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


class LightningStopwatch(Callback):
    """Time each epoch, up to the start of the next: validation, checkpoint, images and trackers."""

    def __init__(self) -> None:
        self.watch = Stopwatch(wait)
        self.running = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """An epoch ends where the next starts."""
        self._end(trainer)
        self.running = True
        self.watch.epoch_starts()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the step."""
        self.watch.step_ends()
        if batch_idx + 1 == trainer.num_training_batches:
            self.watch.training_ends()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The last epoch."""
        self._end(trainer)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write down the accuracy on the test set, in a line of its own."""
        self.watch.epoch_starts()
        self.watch.epoch_ends(**{k: v.item() for k, v in trainer.callback_metrics.items()})

    def _end(self, trainer: Trainer) -> None:
        if self.running:
            self.watch.epoch_ends()
        self.running = False
