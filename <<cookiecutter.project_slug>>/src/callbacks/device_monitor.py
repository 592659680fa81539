"""Watch the device: samples per second, time spent waiting for data, memory, running out of it."""

import logging
from time import perf_counter
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from src.callbacks.failsafe import disable_on_error

log = logging.getLogger(__name__)

MAX_WAITING = 1 / 3  # of the time of an epoch; more is reported
MIN_SECONDS = 10.0  # of an epoch; in a shorter one the start of the workers counts too much


class TrainingSpeed(Callback):
    """Log the speed of each epoch, and keep that of the last one in `final_summary`.

    - `system/samples_per_second`, of all devices, or `system/batches_per_second` where the training
      loader has no `batch_size`;
    - `system/waiting_for_data`, the share of the training time in which the device had to wait;
    - `system/peak_memory_gb` of a CUDA device, in 10^9 bytes.

    Only the host's clock is read in a step, so that no step waits for the device. Validation and
    the sanity check do not count.
    """

    def __init__(self) -> None:
        self.final_summary: dict[str, str] = {}  # printed at the end of the run
        self.has_warned = False
        self.device_is_done: Any = None  # event of a CUDA device after its last batch

    @disable_on_error
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to measure, also in the middle of an epoch, which a resume does not announce."""
        self.on_train_epoch_start(trainer, pl_module)

    @disable_on_error
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to measure an epoch."""
        if trainer.strategy.root_device.type == "cuda" and self.device_is_done is None:
            self.device_is_done = torch.cuda.Event()
        self.batches, self.seconds, self.waiting = 0, 0.0, 0.0
        self.last_end = perf_counter()

    @disable_on_error
    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """Add the time in which the batch was waited for."""
        self.start = perf_counter()
        waited = self.start - self.last_end
        self.seconds += waited
        # A device that is still busy with the last batch does not wait.
        if self.device_is_done is None or self.device_is_done.query():
            self.waiting += waited

    @disable_on_error
    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Add the time that the batch took."""
        if self.device_is_done is not None:
            self.device_is_done.record()
        self.last_end = perf_counter()
        self.seconds += self.last_end - self.start
        self.batches += 1

    @disable_on_error
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave out a validation in the middle of an epoch."""
        self.last_end = perf_counter()

    @disable_on_error
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the speed of the epoch, and warn once if it waits much for data."""
        if not self.batches:
            return
        batch_size = getattr(trainer.train_dataloader, "batch_size", None)
        unit = "samples" if batch_size else "batches"
        rate = self.batches * (batch_size or 1) * trainer.world_size / self.seconds
        waiting = self.waiting / self.seconds
        metrics = {f"system/{unit}_per_second": rate, "system/waiting_for_data": waiting}
        text = f"{rate:,.0f} {unit}/s, {waiting:.0%} of the time waiting for data"
        if self.device_is_done is not None:
            peak = torch.cuda.max_memory_allocated(trainer.strategy.root_device) / 1e9
            metrics["system/peak_memory_gb"] = peak
            text += f", at most {peak:.2f} GB of GPU memory"
        for logger in trainer.loggers:
            logger.log_metrics(metrics, max(trainer.global_step - 1, 0))
        self.final_summary = {"speed": text}
        if waiting > MAX_WAITING and self.seconds > MIN_SECONDS and not self.has_warned:
            self.has_warned = True
            workers = getattr(trainer.train_dataloader, "num_workers", 0)
            advice = f"Try more workers than data.num_workers={workers}, or data in memory"
            log.warning("Training waits for data %.0f %% of the time. %s", 100 * waiting, advice)


class OutOfMemoryAdvice(Callback):
    """Replace the text of an out-of-memory error by the batch size, the memory and what to type.

    The command then ends with this text as its one-line error; the last checkpoint stays.
    """

    @disable_on_error
    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Replace the text of the exception."""
        if not isinstance(exception, torch.OutOfMemoryError):
            return
        device = trainer.strategy.root_device
        loaders = (trainer.train_dataloader, trainer.val_dataloaders, trainer.test_dataloaders)
        loader = next((loader for loader in loaders if loader is not None), None)
        batch_size = getattr(loader, "batch_size", None) or 2
        memory = ""
        if device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(device) / 1e9
            total = torch.cuda.get_device_properties(device).total_memory / 1e9
            memory = f", peak {peak:.1f} of {total:.1f} GB"
        accumulated = 2 * trainer.accumulate_grad_batches
        exception.args = (
            f"{device} is out of memory (batch size {batch_size}{memory}). Type "
            f"data.batch_size={max(batch_size // 2, 1)} "
            f"+trainer.accumulate_grad_batches={accumulated}, or +trainer.precision=bf16-mixed, or "
            "+callbacks.finder._target_=lightning.pytorch.callbacks.BatchSizeFinder",
        )
