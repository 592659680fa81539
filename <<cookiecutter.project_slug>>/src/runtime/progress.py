"""Show the progress of a run: a bar on a terminal, and a line at the end of each epoch.

Epochs count from 0, as Lightning's bar, its logged `epoch` and the names of checkpoints do:
`epoch 2/9` is the third of ten, and its checkpoint is `epoch_002.ckpt`.
"""

import logging
import sys
from time import monotonic
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from rich import get_console
from rich.file_proxy import FileProxy

from src.runtime.project import is_sweep_job

log = logging.getLogger(__name__)

DRAWINGS_PER_SECOND = 2


class ProgressBar(RichProgressBar):
    """Lightning's bar on a terminal, and everywhere a logged line per epoch.

    In the jobs of a sweep, in log files and in CI there is no bar.
    """

    def __init__(self) -> None:
        is_shown = sys.stdout.isatty() and not is_sweep_job()
        super().__init__(refresh_rate=DRAWINGS_PER_SECOND if is_shown else 0)
        self._metrics: dict[str, Any] = {}
        self._next_reading = 0.0
        for handler in logging.getLogger().handlers if is_shown else ():
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
                handler.setStream(FileProxy(get_console(), sys.stdout))  # lines above the bar

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return the metrics on the bar, as last drawn: reading them makes a GPU wait."""
        if trainer.is_last_batch or monotonic() >= self._next_reading:
            self._metrics = super().get_metrics(trainer, pl_module)
            self._next_reading = monotonic() + 1 / DRAWINGS_PER_SECOND
        return self._metrics

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note which epochs an earlier training has logged."""
        super().on_train_start(trainer, pl_module)
        self._epochs_logged = trainer.current_epoch
        self._epoch_started = monotonic()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch before, whose metrics are complete only now."""
        self.on_train_end(trainer, pl_module)
        super().on_train_epoch_start(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch that has ended."""
        ended = trainer.current_epoch  # the number of epochs, which count from 0
        if ended == self._epochs_logged or not trainer.is_global_zero:
            return
        values = trainer.callback_metrics
        names = [name for name in values if name.rpartition("_")[0] not in values]  # no `loss_step`
        metrics = "  ".join(f"{name} {values[name]:.4g}" for name in names)
        epochs = trainer.max_epochs or 0
        last = f"/{epochs - 1}" if epochs > 0 else ""  # -1: no end
        seconds = monotonic() - self._epoch_started
        log.info("epoch %d%s: %s (%.1f s)", ended - 1, last, metrics, seconds)
        self._epochs_logged = ended
        self._epoch_started = monotonic()
