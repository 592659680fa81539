"""A loss that is NaN or infinite ends the run at once, or costs its batch only."""

import copy
import logging
import math
from itertools import islice
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from src.runtime.checkpoint import metric_states, random_states
from src.runtime.checkpoint.last_checkpoint import LastCheckpoint

log = logging.getLogger(__name__)


class FiniteLoss(Callback):
    """Look at each loss before it goes back through the net.

    Args:
        skip: leave out the batch, its metrics too, and train on; else stop with an error.
    """

    def __init__(self, skip: bool = False) -> None:
        self.skip = skip
        self._batch: tuple[Any, int] = (None, 0)
        self._before: dict[str, Any] = {}  # metrics and buffers before the batch
        self._bad = False

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Remember the batch, and, to skip it, what it will change."""
        self._batch = batch, batch_idx
        if self.skip:
            self._before = copy.deepcopy(metric_states.capture(trainer))
            self._before["buffers"] = {k: b.clone() for k, b in pl_module.named_buffers()}

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        """Stop, or mark the batch.

        Raises:
            ValueError: with the step, the batch, and the last good checkpoint.
        """
        bad = not math.isfinite(loss.item())
        if trainer.world_size > 1:  # all processes stop, or skip, together
            bad = trainer.strategy.reduce_boolean_decision(bad, all=False)
        if not bad:
            return
        batch, batch_idx = self._batch
        where = f"at step {trainer.global_step} (epoch {trainer.current_epoch}, batch {batch_idx})"
        if self.skip:
            self._bad = True
            log.warning("The loss is %s %s: the batch is skipped", loss.item(), where)
            return
        callbacks = trainer.callbacks  # ty: ignore[missing-attribute]
        last = next((c for c in callbacks if isinstance(c, LastCheckpoint)), None)
        raise ValueError(
            f"The loss is {loss.item()} {where}. "
            + _samples(trainer, last, batch, batch_idx)
            + (f"Last good checkpoint: {last.path}. " if last and last.path.exists() else "")
            + "Try a lower model.optimizer.lr or trainer.gradient_clip_val=1, "
            "or callbacks.finite_loss.skip=true to pass over such batches"
        )

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Leave the optimizer nothing to step with."""
        if self._bad:
            optimizer.zero_grad(set_to_none=True)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Take back what the batch did to metrics and running statistics."""
        if self._bad:
            self._bad = False
            metric_states.restore(pl_module, self._before)
            metric_states.set_means(trainer, self._before["means"])


def _samples(trainer: Trainer, last: LastCheckpoint | None, batch: Any, batch_idx: int) -> str:
    """Return the indices of a batch in the training set, if drawing it anew gives the same."""
    loader: Any = trainer.train_dataloader
    if last is None:
        return ""
    try:
        random_states.restore(last.at_epoch_start)
        if not loader.persistent_workers or trainer.current_epoch == 0:
            torch.empty((), dtype=torch.int64).random_()  # as the loader seeds its workers
        indices = next(islice(loader.batch_sampler, batch_idx, None))
        data = loader.dataset
        at_once = hasattr(data, "__getitems__")
        drawn = loader.collate_fn(
            data.__getitems__(indices) if at_once else [data[i] for i in indices]
        )
        same = all(torch.equal(a.cpu(), b.cpu()) for a, b in zip(drawn, batch, strict=True))
    except (AttributeError, TypeError, KeyError, StopIteration, RuntimeError):  # another loader
        return ""
    return f"Indices in the training set: {indices}. " if same else ""
