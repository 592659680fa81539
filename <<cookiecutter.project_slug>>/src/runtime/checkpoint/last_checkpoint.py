"""`last.ckpt`: the state of a run from which it goes on as if it had never stopped.

Lightning's own checkpoints leave out the random states, the metrics of the epoch so far and the
last step of a ReduceLROnPlateau, and repeat a part of an epoch with other batches. This one is
written where all is settled: between two batches, or two epochs.
"""

import logging
import os
import time
import warnings
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.data import _set_sampler_epoch
from lightning.fabric.utilities.types import _Stateful
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from src.runtime import signals
from src.runtime.checkpoint import metric_states, random_states
from src.runtime.checkpoint.checkpoint_paths import LAST, NEXT, PREVIOUS

log = logging.getLogger(__name__)

EXACT_KEY = "exact"


class LastCheckpoint(Callback):
    """Write `last.ckpt`, keeping the one before as `previous.ckpt`; resume from it exactly.

    It is written at the end of each epoch, on Ctrl-C, SIGTERM and SIGUSR1, and at intervals. Put
    it first among the callbacks, so that none has begun the next batch when it writes.

    After a resume in the midst of an epoch, the batches that were trained on are drawn again, in
    the same order, and passed over; a loader that has `state_dict` skips them itself.

    Args:
        dirpath: the folder of the checkpoints.
        every_n_steps: optimizer steps between two checkpoints within an epoch; None: no limit.
        every_n_minutes: minutes between two checkpoints within an epoch; None: no limit.
    """

    def __init__(
        self,
        dirpath: str,
        every_n_steps: int | None = None,
        every_n_minutes: float | None = 5.0,
    ) -> None:
        self.dirpath = Path(dirpath)
        self.every_n_steps = every_n_steps
        self.every_n_minutes = every_n_minutes
        self._loaded: dict[str, Any] | None = None  # until all of it is restored
        self._means: dict[str, Any] = {}  # until the first batch has been trained on
        self.at_epoch_start: dict[str, Any] = {}  # random states that the batches came from
        self._between: dict[str, Any] | None = None  # random states before the next batch is drawn
        self._before_validation: dict[str, Any] | None = None  # random states
        self._saving: dict[str, Any] | None = None

    @property
    def path(self) -> Path:
        """Where the newest checkpoint lies."""
        return self.dirpath / LAST

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write nothing in a `fast_dev_run`."""
        self._off = bool(trainer.fast_dev_run)  # ty: ignore[missing-attribute]

    # When to write

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember what the first epoch is drawn from."""
        self.at_epoch_start = random_states.capture()
        if trainer.fit_loop._data_fetcher is not None:
            _draw_anew(trainer)  # drawn before, for a scheduler that asked for the number of steps
        if self._loaded:
            trainer.callback_metrics.update(self._loaded["metrics"]["callback"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From now on a signal waits for a checkpoint."""
        self._note_saved(trainer)
        signals.current.install()
        signals.current.end_if_asked()
        signals.current.wait = not self._off
        if self._loaded:
            self._resume(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write between two epochs."""
        if self._loaded:
            random_states.restore(self._loaded["random"])
            self._restore_metrics(pl_module)
        elif trainer.current_epoch > 0:
            self._save(trainer, random_states.capture(), within_epoch=False)
        if trainer.current_epoch > 0:  # the first one was drawn before
            self.at_epoch_start = random_states.capture()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Write between two batches, if the last one said that it is time."""
        if self._loaded:
            self._restore_metrics(pl_module)
            trainer.fit_loop._restarting = False  # else the epoch's end skips ReduceLROnPlateau
        if self._between:
            self._save(trainer, **self._between, within_epoch=True)
            self._between = None

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """See whether it is time; gradients that accumulate are not saved, so not amid those."""
        if self._means:
            metric_states.add_means(trainer, self._means)
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0 and self._is_due(trainer):
            loader = trainer.fit_loop._combined_loader
            self._between = {
                "random": random_states.capture(),
                "loaders": loader._state_dicts() if loader else [],
            }

        fetcher = trainer.fit_loop._data_fetcher
        if fetcher and trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher):
            self._before_validation = random_states.capture()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Wait for the batch after, or the end of the epoch."""
        self._between = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Train on as if nothing random had happened in validation.

        How much its loader draws depends on whether the process has validated before.
        """
        if self._before_validation:
            random_states.restore(self._before_validation)
            self._before_validation = None

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the end of training."""
        self._save(trainer, random_states.capture(), within_epoch=False)
        signals.current.wait = False

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Let further signals end the process at once."""
        signals.current.wait = False

    def _is_due(self, trainer: Trainer) -> bool:
        steps, minutes = self.every_n_steps, self.every_n_minutes
        due = (
            signals.current.received is not None
            or (steps is not None and trainer.global_step - self._saved_step >= steps)
            or (minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes)
        )
        if trainer.world_size > 1:  # all processes write together
            due = trainer.strategy.reduce_boolean_decision(due, all=False)
        return due and not self._off

    # What to write

    def _save(self, trainer: Trainer, random: Any, within_epoch: bool, loaders: Any = None) -> None:
        if not self._off:
            self._saving = {
                "random": random,
                "at_epoch_start": self.at_epoch_start,
                "within_epoch": within_epoch,
                "loaders": loaders,
                "metrics": metric_states.capture(trainer),
                "should_stop": trainer.should_stop,
            }
            trainer.save_checkpoint(self.dirpath / NEXT, weights_only=False)
            self._saving = None
            if trainer.is_global_zero:
                if self.path.exists():
                    os.replace(self.path, self.dirpath / PREVIOUS)
                os.replace(self.dirpath / NEXT, self.path)
            self._note_saved(trainer)
        signals.current.end_if_asked()

    def _note_saved(self, trainer: Trainer) -> None:
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what Lightning leaves out, and count neither a batch nor an epoch as begun."""
        if self._saving is None:  # another callback's checkpoint
            return
        checkpoint[EXACT_KEY] = self._saving
        loop = checkpoint["loops"]["fit_loop"]
        progress = loop["epoch_progress"]
        if self._saving["within_epoch"]:
            progress = loop["epoch_loop.batch_progress"]
            progress["is_last_batch"] = False
            if self._saving["loaders"]:
                loop["state_dict"]["combined_loader"] = self._saving["loaders"]
        for counts in (progress["total"], progress["current"]):
            counts["ready"] = counts["completed"]

    # How to go on

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take what `on_save_checkpoint` added, and restore it in the hooks that follow."""
        if trainer.state.fn != TrainerFn.FITTING:
            return
        self._loaded = checkpoint.get(EXACT_KEY)
        if self._loaded is None:
            log.warning("This is no last.ckpt: the run goes on from it, but not bit by bit.")
            return
        random_states.restore(self._loaded["random"])
        trainer.should_stop = self._loaded["should_stop"]
        trainer.num_sanity_val_steps = 0

    def _resume(self, trainer: Trainer) -> None:
        assert self._loaded is not None
        loop = trainer.fit_loop
        if not self._loaded["within_epoch"]:
            # A new epoch like any other: its batches are drawn after `on_train_epoch_start`.
            for part in (loop, loop.epoch_loop, loop.epoch_loop.val_loop):
                part._restarting = part._resuming_from_checkpoint = False
            return
        self.at_epoch_start = self._loaded["at_epoch_start"]
        fetcher, loader = loop._data_fetcher, loop._combined_loader
        assert fetcher is not None
        assert loader is not None
        if all(isinstance(part, _Stateful) for part in loader.flattened):
            if loop._combined_loader_states_to_load:  # not yet: drawn before there was a state
                loop._load_combined_loader_states()
                iter(fetcher)
        else:
            for part in loader.flattened:
                _set_sampler_epoch(part, trainer.current_epoch)
            random_states.restore(self.at_epoch_start)
            _draw_anew(trainer)
            for _ in range(loop.epoch_loop.batch_progress.current.completed):
                next(fetcher)
            fetcher.fetched = 0  # Lightning adds those of before
            warnings.filterwarnings(
                "ignore", message="You're resuming from a checkpoint that ended"
            )
        random_states.restore(self._loaded["random"])

    def _restore_metrics(self, pl_module: LightningModule) -> None:
        # After `on_train_start`, where modules reset what the sanity check measured.
        assert self._loaded is not None
        metric_states.restore(pl_module, self._loaded["metrics"])
        if self._loaded["within_epoch"]:
            self._means = self._loaded["metrics"]["means"]
        self._loaded = None


def _draw_anew(trainer: Trainer) -> None:
    loop = trainer.fit_loop
    if loop._combined_loader and trainer.current_epoch == 0:
        loop._combined_loader.reset()  # workers that persist are seeded but once, with the first
    if loop._data_fetcher:
        iter(loop._data_fetcher)
