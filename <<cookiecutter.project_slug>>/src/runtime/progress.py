"""Show the progress of a run: a bar on a terminal, and a line at the end of each epoch.

Epochs count from 0, as Lightning's bar, its logged `epoch` and the names of checkpoints do:
`epoch 2/9` is the third of ten, and its checkpoint is `epoch_002.ckpt`.
"""

import io
import logging
import sys
import time
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from rich.console import Console
from rich.progress import Task, TextColumn
from rich.text import Text

log = logging.getLogger(__name__)

DRAWINGS_PER_SECOND = 2
METRICS_SHOWN = 8


class CurrentStdout(io.TextIOBase):
    """Standard output as it is at the time of writing: while a bar is shown, the lines above it."""

    def write(self, text: str) -> int:
        """Write to it."""
        return sys.stdout.write(text)

    def flush(self) -> None:
        """Flush it."""
        sys.stdout.flush()


class StageColumn(TextColumn):
    """The stage: `Epoch 2/9`. Without the `/-2` that Lightning shows for unbounded epochs."""

    def render(self, task: Task) -> Text:
        """Return the text."""
        return Text(task.description.replace("/-2", ""))


class ProgressBar(RichProgressBar):
    """Lightning's bar on a terminal or in a notebook, and everywhere a logged line per epoch.

    In the jobs of a sweep, in log files and in CI there is no bar.
    """

    def __init__(self) -> None:
        super().__init__(refresh_rate=DRAWINGS_PER_SECOND if can_show_bar() else 0)
        self._next_drawing = self._epoch_started = 0.0
        self._epoch: int | None = None  # the one that has no line yet

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let log messages appear above the bar, not in its middle."""
        super().setup(trainer, pl_module, stage)
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
                handler.setStream(CurrentStdout())

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        """Return the columns of the bar."""
        return [StageColumn(""), *super().configure_columns(trainer)[1:]]

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return the metrics on the bar: without the version of a logger, which says nothing."""
        metrics: dict[str, Any] = dict(super().get_metrics(trainer, pl_module))
        metrics.pop("v_num", None)
        return metrics

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the bar when it is time: reading a metric makes a GPU wait."""
        if self._epoch is None:  # resumed within an epoch, which then has no start
            self._epoch, self._epoch_started = trainer.current_epoch, time.monotonic()
        if self.is_enabled and (time.monotonic() >= self._next_drawing or trainer.is_last_batch):
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
            self._next_drawing = time.monotonic() + 1 / DRAWINGS_PER_SECOND

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch before, whose metrics are complete only now."""
        self._log_epoch(trainer)
        self._epoch, self._epoch_started = trainer.current_epoch, time.monotonic()
        super().on_train_epoch_start(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the last epoch, and show what the model logged at its very end."""
        self._log_epoch(trainer)
        super().on_train_epoch_end(trainer, pl_module)

    def _log_epoch(self, trainer: Trainer) -> None:
        epoch, self._epoch = self._epoch, None
        if epoch is None or not trainer.is_global_zero:
            return
        validated = (epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
        values = trainer.callback_metrics
        metrics = [
            f"{name} {value:.4g}"
            for name, value in values.items()
            if name.rpartition("_")[0] not in values  # such as `train/loss_step`
            and (validated or not name.startswith("val"))  # else it is an older epoch's
        ]
        total = trainer.max_epochs or -1
        last = f"/{total - 1}" if total > 0 else ""
        text = "  ".join(metrics[:METRICS_SHOWN])
        seconds = time.monotonic() - self._epoch_started
        log.info("epoch %d%s: %s (%.1f s)", epoch, last, text, seconds)


def can_show_bar() -> bool:
    """Return whether standard output can redraw lines, and no other job of a sweep writes to it."""
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        return False
    console = Console()
    return console.is_jupyter or (sys.stdout.isatty() and console.is_interactive)
