"""How fast training goes: seconds an epoch, samples a second."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class EpochSpeed(Callback):
    """Log, at the end of each training epoch and on the step's axis of each tracker:

    - `speed/epoch_seconds`: of the whole epoch, validation included;
    - `speed/samples_per_second`: of all devices, while training proper.

    It works once an epoch, and costs a step nothing.
    """

    def __init__(self) -> None:
        self._started = self._validation_started = self._validation_seconds = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started = time.perf_counter()
        self._validation_seconds = 0.0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of training proper."""
        self._validation_started = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start it again."""
        self._validation_seconds += time.perf_counter() - self._validation_started

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log both."""
        seconds = time.perf_counter() - self._started
        speeds = {"speed/epoch_seconds": seconds}
        if samples := _samples(trainer):
            speeds["speed/samples_per_second"] = samples / (seconds - self._validation_seconds)
        for logger in trainer.loggers:
            logger.log_metrics(speeds, step=trainer.global_step)


def _samples(trainer: Trainer) -> int | None:
    """Return how many samples the epoch had on all devices, if its loader knows its batches."""
    loader: Any = trainer.train_dataloader
    batch_size = getattr(loader, "batch_size", None)
    batches = trainer.fit_loop.batch_idx + 1
    if not batch_size:
        return None
    samples = batches * batch_size
    if batches == len(loader) and not loader.drop_last:
        samples = min(samples, len(loader.sampler))  # the last batch may be smaller
    return samples * trainer.world_size
