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
from lightning.pytorch.utilities import CombinedLoader
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import distributed
from torchmetrics import Metric

from src.runtime import signals
from src.runtime.run_folder import LAST_CHECKPOINT

log = logging.getLogger(__name__)

EXACT_KEY = "exact_resume"
BATCHES_BETWEEN_VOTES = 10  # of several processes, which write together


class LastCheckpoint(Checkpoint):
    """Write `last.ckpt` at the end of each epoch, on a signal, and at intervals; resume exactly.

    Lightning calls checkpoint callbacks last, so that the others have seen the batch.

    Args:
        dirpath: the folder of the checkpoints.
        every_n_steps: optimizer steps between two checkpoints within an epoch; None: no limit.
        every_n_minutes: minutes between two checkpoints within an epoch; None: no limit.
    """

    def __init__(
        self, dirpath: str, every_n_steps: int | None = None, every_n_minutes: float | None = 5.0
    ) -> None:
        self.path = Path(dirpath) / LAST_CHECKPOINT
        self.every_n_steps = every_n_steps
        self.every_n_minutes = every_n_minutes
        self._is_between_epochs = False  # while it saves
        self._loaded: dict[str, Any] = {}  # what a checkpoint held, until all of it is restored
        self._saved_at, self._saved_step = time.monotonic(), 0

    # When to write

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let a signal wait for the next checkpoint from now on."""
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step
        signals.reinstall()
        signals.raise_if_received()
        signals.state.is_deferred = True
        if self._loaded:
            set_random_states(self._loaded["random"], trainer.global_rank)
            trainer.callback_metrics.update(self._loaded["metrics"])
            # A module that asked for the number of steps had the loaders built before their state
            # was there, and Lightning then does not restore it.
            loaders = CombinedLoader(trainer.train_dataloader).flattened
            stateful = [loader for loader in loaders if hasattr(loader, "load_state_dict")]
            for loader, state in zip(stateful, self._loaded["loaders"], strict=False):
                if "batches_drawn" in state:  # ours, which has not begun to draw yet
                    loader.load_state_dict(state)
            if self._loaded["between_epochs"]:
                _end_restart(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write between two epochs, when schedulers have made their step."""
        if self._loaded:
            self._restore(trainer, pl_module)
        elif trainer.current_epoch > 0:
            self._save(trainer, between_epochs=True)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Finish a resume within an epoch."""
        if self._loaded:
            self._restore(trainer, pl_module)
            _end_restart(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write if it is time, unless gradients accumulate, or a validation follows this batch."""
        is_whole_step = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if is_whole_step and not _may_validate(trainer, batch_idx) and self._is_due(trainer):
            self._save(trainer, between_epochs=False)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write after a validation within an epoch if it is time."""
        is_within_epoch = trainer.state.fn == "fit" and not trainer.sanity_checking
        if is_within_epoch and not trainer.is_last_batch and self._is_due(trainer):
            self._save(trainer, between_epochs=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the end of training."""
        self._save(trainer, between_epochs=True)
        signals.state.is_deferred = False

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Keep a first epoch at whose end a monitored metric was missing.

        Let further signals end the process at once.
        """
        signals.state.is_deferred = False
        batches = trainer.fit_loop.epoch_loop.batch_progress.current
        is_whole = trainer.is_last_batch and batches.ready == batches.completed
        is_missing = isinstance(exception, MisconfigurationException) or (
            isinstance(exception, RuntimeError) and trainer.world_size == 1
        )
        if trainer.state.fn == "fit" and is_whole and is_missing and not self.path.exists():
            self._save(trainer, between_epochs=False)

    def _is_due(self, trainer: Trainer) -> bool:
        minutes, steps = self.every_n_minutes, self.every_n_steps
        is_due = (
            signals.state.received is not None
            or (steps is not None and trainer.global_step - self._saved_step >= steps)
            or (minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes)
        )
        if trainer.world_size == 1:
            return is_due
        if trainer.fit_loop.total_batch_idx % BATCHES_BETWEEN_VOTES != 0:
            return False
        return trainer.strategy.reduce_boolean_decision(is_due, all=False)

    def _save(self, trainer: Trainer, between_epochs: bool) -> None:
        if not getattr(trainer, "fast_dev_run", False):
            self._is_between_epochs = between_epochs
            trainer.save_checkpoint(self.path)
            self._is_between_epochs = False
            self._saved_at, self._saved_step = time.monotonic(), trainer.global_step
        signals.raise_if_received()

    # What to write, and how to continue

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add what Lightning leaves out."""
        checkpoint[EXACT_KEY] = {
            "between_epochs": self._is_between_epochs,
            "random": random_states_of_all_ranks(),
            "metrics": dict(trainer.callback_metrics),
            "metric_states": metric_states(pl_module),
            "should_stop": trainer.should_stop,
        }
        if self._is_between_epochs:  # the next epoch draws all of its batches
            state = checkpoint["loops"]["fit_loop"]["state_dict"]
            for loader_state in state.get("combined_loader", []):
                if "batches_drawn" in loader_state:
                    loader_state["batches_drawn"] = 0

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take what `on_save_checkpoint` added; the hooks of training restore it."""
        if trainer.state.fn == "fit":
            self._loaded = checkpoint.get(EXACT_KEY) or {}
            # Where training had ended, more epochs are asked for by now.
            has_ended = checkpoint["epoch"] >= (trainer.min_epochs or 0)
            trainer.should_stop = not has_ended and self._loaded.get("should_stop", False)
            loop = checkpoint.get("loops", {}).get("fit_loop", {})
            loaders = loop.get("state_dict", {}).get("combined_loader", [])
            is_within_epoch = self._loaded and not self._loaded["between_epochs"]
            self._loaded = self._loaded and self._loaded | {"loaders": loaders}
            if is_within_epoch and not loaders:
                log.warning(
                    "The training loader has no state_dict: the rest of the epoch is drawn anew. "
                    "src/data/loading.py has one that resumes exactly"
                )

    def _restore(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Behind `on_train_start`, where modules reset what the sanity check measured.
        set_metric_states(pl_module, self._loaded["metric_states"])
        if self._loaded["between_epochs"]:
            set_random_states(self._loaded["random"], trainer.global_rank)
        self._loaded = {}


def random_states_of_all_ranks() -> list[dict[str, Any]]:
    """Return the states of Python's, NumPy's and torch's generators on each rank, plain data."""
    name, keys, *rest = np.random.get_state()
    own = {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    if not (distributed.is_available() and distributed.is_initialized()):
        return [own]
    states: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(states, own)
    return states


def set_random_states(states: list[dict[str, Any]], rank: int) -> None:
    """Set the generators of this rank; those of GPUs where there are as many as before."""
    if rank >= len(states):
        return
    state = states[rank]
    name, keys, *rest = state["numpy"]
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([cuda.cpu() for cuda in state["cuda"]])


def metric_states(module: LightningModule) -> dict[str, dict[str, Any]]:
    """Return the states of all torchmetrics objects in a module, by their name."""
    metrics = {name: m for name, m in module.named_modules() if isinstance(m, Metric)}
    return {name: dict(metric.metric_state) for name, metric in metrics.items()}


def set_metric_states(module: LightningModule, states: dict[str, dict[str, Any]]) -> None:
    """Set the states of the torchmetrics objects that `metric_states` returned."""
    for name, metric in module.named_modules():
        if isinstance(metric, Metric) and name in states:
            for key, value in states[name].items():
                on_device = (
                    [part.to(metric.device) for part in value]
                    if isinstance(value, list)
                    else value.to(metric.device)
                )
                setattr(metric, key, on_device)


def _end_restart(trainer: Trainer) -> None:
    """Let what follows be like any other epoch: a restarted one makes no step of its schedulers."""
    loop = trainer.fit_loop.epoch_loop
    max_steps, loop.max_steps = loop.max_steps, -1  # with a limit, the next line has no effect
    trainer.fit_loop.restarting = False
    loop.max_steps = max_steps


def _may_validate(trainer: Trainer, batch_idx: int) -> bool:
    """Return whether a validation may follow this batch; a checkpoint before it would skip it."""
    every = trainer.val_check_batch
    if trainer.is_last_batch or every in (None, float("inf")):  # None: by time, at any batch
        return trainer.is_last_batch
    return any(n % every == 0 for n in (batch_idx + 1, trainer.fit_loop.total_batch_idx + 1))
