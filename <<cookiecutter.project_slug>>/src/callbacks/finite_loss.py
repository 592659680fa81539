"""Report a training loss that is NaN or infinite."""

import logging
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from src.callbacks.failsafe import disable_on_error

log = logging.getLogger(__name__)


class FiniteLoss(Callback):
    """Warn once, or end the run, when the training loss is NaN or infinite.

    The losses are added up on their device: the sum is finite as long as each of them was. The host
    reads it, which waits for the device, only every `trainer.log_every_n_steps`, at the end of an
    epoch and before a checkpoint.

    Args:
        stop: end the run with a FloatingPointError, before a checkpoint is written; else warn.
    """

    def __init__(self, stop: bool = False) -> None:
        self.stop = stop
        self.has_warned = False
        self.first_step = 0  # of the first loss in the sum
        self.sum_of_losses: Tensor | None = None  # on the device; None: nothing to read

    @disable_on_error
    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        """Add a loss to the sum without waiting for the device."""
        if loss.ndim:  # a loss per sample, of batches that may differ in size
            loss = loss.sum()
        if self.sum_of_losses is None:
            self.first_step = trainer.global_step
            self.sum_of_losses = loss.detach().float()
        else:
            self.sum_of_losses = self.sum_of_losses + loss.detach()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Read the result at the steps at which loggers write."""
        every = trainer.log_every_n_steps
        if every and (batch_idx + 1) % every == 0:
            self.read_result(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the result at the end of an epoch."""
        self.read_result(trainer)

    def on_save_checkpoint(self, trainer: Trainer, *_: Any) -> None:
        """Read the result before a checkpoint is written."""
        self.read_result(trainer)

    def read_result(self, trainer: Trainer) -> None:
        """Report the losses since the last call.

        Raises:
            FloatingPointError: if one was not finite and `stop` is set.
        """
        if self.sum_of_losses is None:
            return
        failed = not torch.isfinite(self.sum_of_losses).all()
        self.sum_of_losses = None
        if self.stop and trainer.world_size > 1:  # all processes stop together
            failed = trainer.strategy.reduce_boolean_decision(failed, all=False)
        message = (
            f"The loss became NaN or infinite in steps {self.first_step} to {trainer.global_step}. "
            "Try a lower model.optimizer.lr or trainer.gradient_clip_val=1"
        )
        if failed and self.stop:
            raise FloatingPointError(message)
        if failed and not self.has_warned:
            self.has_warned = True
            log.warning("%s (callbacks.finite_loss.stop=true ends such a run)", message)
