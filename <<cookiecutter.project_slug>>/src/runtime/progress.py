"""How far a run has come: a live bar on a terminal, a plain line now and then elsewhere."""

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.utilities.data import extract_batch_size
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn


class TimedProgressBar(ProgressBar):
    """Show step, loss, samples a second and time left; a line of metrics at the end of each epoch.

    A step only looks at the clock. There is a terminal where standard output is one that moves
    its cursor (`TERM=dumb` does not); colours are Rich's, which obeys `NO_COLOR`.

    Args:
        bar_seconds: between two drawings of the live bar.
        line_seconds: between two lines where there is no terminal.
    """

    def __init__(self, bar_seconds: float = 0.25, line_seconds: float = 10) -> None:
        super().__init__()
        self.bar_seconds = bar_seconds
        self.line_seconds = line_seconds
        self.enabled = True
        self._progress: Progress | None = None
        self._task = TaskID(0)
        self._due = 0.0
        self._epoch: int | None = None

    def disable(self) -> None:
        """Show nothing: Lightning calls this on all ranks but the first."""
        self.enabled = False

    def enable(self) -> None:
        """Show again what `disable` hid."""
        self.enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bar: `self.print` of a LightningModule arrives here."""
        if not self.enabled:
            return
        if self._progress:
            self._progress.console.print(*args, **kwargs, highlight=False, soft_wrap=True)
        else:
            print(*args, **kwargs, flush=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar."""
        self._open()
        self._epoch = None
        self._began, self._before = time.monotonic(), _batches_done(trainer, 0)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the metrics of the epoch before, which are complete by now."""
        self._tell_epoch(trainer)
        self._epoch = trainer.current_epoch
        self._epoch_began = self._drawn = time.monotonic()
        self._drawn_idx = -1

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Draw, if it is time."""
        now = time.monotonic()
        if now < self._due or not self.enabled:
            return
        size = (extract_batch_size(batch) or 1) * trainer.world_size
        rate = (batch_idx - self._drawn_idx) * size / (now - self._drawn)
        self._drawn, self._drawn_idx = now, batch_idx
        total = trainer.num_training_batches  # inf if nobody knows
        facts = [_loss(outputs), f"{rate:,.0f} samples/s", self._time_left(trainer, batch_idx, now)]
        self._draw(_epoch(trainer, trainer.current_epoch), batch_idx + 1, total, facts)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw, if it is time."""
        if trainer.sanity_checking:
            return
        self._draw_evaluation("validation", batch_idx, trainer.num_val_batches, dataloader_idx)

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw, if it is time."""
        self._draw_evaluation("test", batch_idx, trainer.num_test_batches, dataloader_idx)

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw, if it is time."""
        self._draw_evaluation("predict", batch_idx, trainer.num_predict_batches, dataloader_idx)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the metrics of the last epoch, and close the bar."""
        self._tell_epoch(trainer)
        self._close()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar."""
        self._open()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar."""
        self._open()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Close the bar, so that the terminal is as it was."""
        self._close()

    def _open(self) -> None:
        console = Console()
        if self.enabled and console.is_terminal and not console.is_dumb_terminal:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[facts]}"),
                console=console,
                auto_refresh=False,  # a thread that draws would take its time from the training
                transient=True,
            )
            self._task = self._progress.add_task("", total=None, facts="")
            self._progress.start()
        self._due = time.monotonic() + (self.bar_seconds if self._progress else self.line_seconds)

    def _close(self) -> None:
        if self._progress:
            self._progress.stop()
        self._progress = None

    def _draw(self, stage: str, step: int, total: float, facts: list[str]) -> None:
        known = total != float("inf")
        counted = f"step {step:,}/{total:,}" if known else f"step {step:,}"
        text = "  ".join(filter(None, [counted, *facts]))
        if self._progress:
            self._progress.update(
                self._task,
                description=stage,
                completed=step,
                total=total if known else None,
                facts=text,
            )
            self._progress.refresh()
            self._due = time.monotonic() + self.bar_seconds
        else:
            print(f"{stage}  {text}", flush=True)
            self._due = time.monotonic() + self.line_seconds

    def _draw_evaluation(
        self, stage: str, batch_idx: int, totals: list[int | float], dataloader_idx: int
    ) -> None:
        if self.enabled and time.monotonic() >= self._due:
            self._draw(stage, batch_idx + 1, totals[dataloader_idx], [])

    def _tell_epoch(self, trainer: Trainer) -> None:
        if self._epoch is None:
            return
        seconds = time.monotonic() - self._epoch_began
        metrics = {
            name: value
            for name, value in trainer.progress_bar_metrics.items()
            if isinstance(value, float)
        }
        text = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        self.print(f"{_epoch(trainer, self._epoch)}  {text}  {seconds:.1f} s")

    def _time_left(self, trainer: Trainer, batch_idx: int, now: float) -> str:
        total = trainer.estimated_stepping_batches * trainer.accumulate_grad_batches
        done = _batches_done(trainer, batch_idx + 1)
        if total == float("inf") or done <= self._before:
            return ""
        seconds = (now - self._began) * (total - done) / (done - self._before)
        return f"{timedelta(seconds=round(max(seconds, 0)))} left"


def _batches_done(trainer: Trainer, in_epoch: int) -> float:
    batches = trainer.num_training_batches
    return in_epoch if batches == float("inf") else trainer.current_epoch * batches + in_epoch


def _epoch(trainer: Trainer, index: int) -> str:
    last = trainer.max_epochs
    return f"epoch {index + 1}/{last}" if last and last > 0 else f"epoch {index + 1}"


def _loss(outputs: Any) -> str:
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else None
    return "" if loss is None else f"loss {float(loss):.4f}"
