"""`last.ckpt`: the state of a run from which it continues as if it had never stopped.

Lightning's checkpoints leave out random states, the states of metric objects, and the last step of
a ReduceLROnPlateau. This one is written where those are settled: between two epochs, or behind a
batch. `docs/resume.md` says what is exact, and what is not.
"""

import logging
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import CombinedLoader, move_data_to_device
from torch import distributed
from torchmetrics import Metric

from src.runtime import signals
from src.runtime.run_folder import LAST_CHECKPOINT

log = logging.getLogger(__name__)

EXACT_KEY = "exact_resume"
BATCHES_BETWEEN_VOTES = 10  # of several processes, which write together


class LastCheckpoint(Checkpoint):
    """Save `last.ckpt` after each epoch, at intervals and on a signal, for exact resume.

    Lightning calls checkpoint callbacks last, so that the others have seen the batch.

    Args:
        dirpath: the folder of the checkpoints.
        every_n_minutes: minutes between two checkpoints within an epoch; 0: after each batch.
    """

    def __init__(self, dirpath: str, every_n_minutes: float = 5.0) -> None:
        self.path = Path(dirpath) / LAST_CHECKPOINT
        self.every_n_minutes = every_n_minutes
        self._is_between_epochs = False  # while it saves
        self._loaded: dict[str, Any] = {}  # what a checkpoint held, until all of it is restored
        self._saved_at = time.monotonic()

    # When to write

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Defer signals to the next checkpoint, and restore random states on resume."""
        signals.reinstall_handlers()
        signals.raise_if_received()
        signals.state.is_deferred = True
        if self._loaded:
            self._begin_resume(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save a checkpoint of the previous epoch, or finish resuming."""
        if self._loaded:  # between two epochs: within one, Lightning does not call this
            self._set_random_states(trainer)
            self._end_resume(pl_module)
        elif trainer.current_epoch > 0:
            self._save(trainer, between_epochs=True)

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, *_: Any, **__: Any) -> None:
        """Finish resuming within an epoch."""
        if self._loaded:
            self._end_resume(pl_module)
            _end_restart(trainer)

    def on_train_batch_end(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """Save a checkpoint if it is due and no validation or accumulation follows."""
        batch_idx = trainer.fit_loop.batch_idx
        is_whole_step = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if is_whole_step and not _may_validate(trainer, batch_idx) and self._is_due(trainer):
            self._save(trainer, between_epochs=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the final checkpoint, and stop deferring signals."""
        self._save(trainer, between_epochs=True)
        signals.state.is_deferred = False

    def on_exception(self, trainer: Trainer, *_: Any, **__: Any) -> None:
        """Save a checkpoint if the exception came at the end of the first epoch.

        Let further signals end the process at once.
        """
        signals.state.is_deferred = False
        batches = trainer.fit_loop.epoch_loop.batch_progress.current
        is_whole = trainer.is_last_batch and batches.ready == batches.completed
        if is_whole and trainer.world_size == 1 and not self.path.exists():
            self._save(trainer, between_epochs=False)

    def _is_due(self, trainer: Trainer) -> bool:
        if trainer.world_size > 1 and trainer.fit_loop.total_batch_idx % BATCHES_BETWEEN_VOTES:
            return False
        minutes = (time.monotonic() - self._saved_at) / 60
        is_due = signals.state.received is not None or minutes >= self.every_n_minutes
        return trainer.strategy.reduce_boolean_decision(is_due, all=False)

    def _save(self, trainer: Trainer, between_epochs: bool) -> None:
        if not getattr(trainer, "fast_dev_run", False):
            self._is_between_epochs = between_epochs
            trainer.save_checkpoint(self.path)
            self._is_between_epochs = False
            self._saved_at = time.monotonic()
        signals.raise_if_received()

    # What to write, and how to continue

    def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: Any) -> None:
        """Add random states and metric states to the checkpoint."""
        checkpoint[EXACT_KEY] = {
            "between_epochs": self._is_between_epochs,
            "random": gather_random_states(trainer.world_size),
            "metrics": dict(trainer.callback_metrics),
            "metric_states": {name: m.metric_state for name, m in _metrics_in(pl_module)},
        }
        if self._is_between_epochs:  # the next epoch draws all of its batches
            for state in _loader_states(checkpoint):
                if "batches_drawn" in state:
                    state["batches_drawn"] = 0

    def on_load_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: Any) -> None:
        """Store the added states until training restores them."""
        if trainer.state.fn == "fit" and EXACT_KEY in checkpoint:
            self._loaded = checkpoint[EXACT_KEY] | {"loaders": _loader_states(checkpoint)}
            if not (self._loaded["between_epochs"] or self._loaded["loaders"]):
                log.warning("The training loader has no state_dict: its epoch is drawn anew")

    def _begin_resume(self, trainer: Trainer) -> None:
        self._set_random_states(trainer)
        trainer.callback_metrics.update(self._loaded["metrics"])
        # A module that asked for the number of steps had the loaders built before their state was
        # there, and Lightning then does not restore it.
        loaders = CombinedLoader(trainer.train_dataloader).flattened
        stateful = [loader for loader in loaders if hasattr(loader, "load_state_dict")]
        for loader, state in zip(stateful, self._loaded["loaders"], strict=False):
            if "batches_drawn" in state:  # ours, which has not begun to draw yet
                loader.load_state_dict(state)
        if self._loaded["between_epochs"]:
            _end_restart(trainer)

    def _set_random_states(self, trainer: Trainer) -> None:
        states = self._loaded["random"]
        own = states[trainer.global_rank % len(states)]
        random.setstate(own["python"])
        np.random.set_state(own["numpy"])
        torch.set_rng_state(own["torch"])
        if len(own["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(own["cuda"])

    def _end_resume(self, module: LightningModule) -> None:
        # Behind `on_train_start`, where modules reset what the sanity check measured.
        for name, metric in _metrics_in(module):
            for key, value in self._loaded["metric_states"].get(name, {}).items():
                setattr(metric, key, move_data_to_device(value, metric.device))
        self._loaded = {}


def gather_random_states(world_size: int) -> list[Any]:
    """Gather the random states of Python, NumPy and torch from all ranks."""
    name, keys, *rest = np.random.get_state()
    own = {
        "python": random.getstate(),
        "numpy": (name, np.asarray(keys).tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
    }
    states: list[Any] = [own] * world_size
    if distributed.is_initialized():
        distributed.all_gather_object(states, own)
    return states


def _metrics_in(module: LightningModule) -> list[tuple[str, Metric]]:
    return [(name, found) for name, found in module.named_modules() if isinstance(found, Metric)]


def _loader_states(checkpoint: dict[str, Any]) -> list[Any]:
    return checkpoint["loops"]["fit_loop"]["state_dict"].get("combined_loader", [])


def _end_restart(trainer: Trainer) -> None:
    """Let what follows be like any other epoch: a restarted one makes no step of its schedulers."""
    loop = trainer.fit_loop.epoch_loop
    max_steps, loop.max_steps = loop.max_steps, -1  # with a limit, the next line has no effect
    trainer.fit_loop.restarting = False
    loop.max_steps = max_steps


def _may_validate(trainer: Trainer, batch_idx: int) -> bool:
    """Return whether a validation may follow this batch; a checkpoint before it would skip it."""
    every = trainer.val_check_batch or float("inf")  # None: by time, at any batch
    counts_all = trainer.check_val_every_n_epoch is None
    batch = trainer.fit_loop.total_batch_idx if counts_all else batch_idx
    return trainer.is_last_batch or (batch + 1) % every == 0
