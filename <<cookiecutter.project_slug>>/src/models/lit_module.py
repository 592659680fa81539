"""Supervised learning: net, loss, metrics, optimizer and scheduler chosen by the configuration."""

import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.types import STEP_OUTPUT, OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric, MetricCollection

log = logging.getLogger(__name__)

Batch = tuple[Tensor | Mapping[str, Tensor], Tensor]
Stage = Literal["train", "val", "test"]

STEP_COUNTS = ("total_steps", "T_max", "total_iters")  # scheduler arguments filled in if null
PEAKS = ("max_lr", "base_lr")  # scheduler arguments that replace the optimizer's learning rate
FUSED_DEVICES = {"cpu", "cuda", "mps"}


class LitModule(LightningModule):
    """Fit a net to pairs of inputs and targets.

    Args:
        net: maps the inputs of a batch to predictions; a dict of inputs is passed as keywords.
        loss: maps predictions and targets to the mean loss of the batch, `()`.
        metrics: of predictions and targets, logged as `train/NAME`, `val/NAME` and `test/NAME`
            beside the loss; None logs the loss alone.
        optimizer: called with the parameters.
        scheduler: called with the optimizer; `total_steps`, `T_max` or `total_iters` given as None
            becomes the number of optimizer steps of the run. None keeps the learning rate constant.
        lr_interval: whether the scheduler steps each `epoch` or each `step`.
        lr_monitor: the metric that ReduceLROnPlateau follows.
        lr_frequency: number of intervals between two steps of the scheduler.
        compile: True compiles the net with `torch.compile`; a string is its `mode`, a mapping its
            keyword arguments.
        scale_lr: multiply the learning rate, and the scheduler's `max_lr`, by the number of
            processes and of accumulated batches, as the effective batch size is (P. Goyal et al.,
            Accurate, Large Minibatch SGD, 2017).
    """

    def __init__(
        self,
        net: nn.Module,
        loss: nn.Module,
        metrics: MetricCollection | None,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler] | None = None,
        lr_interval: Literal["epoch", "step"] = "epoch",
        lr_monitor: str = "val/loss",
        lr_frequency: int = 1,
        compile: bool | str | Mapping[str, Any] = False,
        scale_lr: bool = False,
    ) -> None:
        super().__init__()
        self.net = net
        self.loss = loss
        # One per stage: a validation within an epoch must not reset the metrics of training.
        self.train_loss = MeanMetric(nan_strategy="disable")
        self.val_loss = MeanMetric(nan_strategy="disable")
        self.test_loss = MeanMetric(nan_strategy="disable")
        metrics = metrics or MetricCollection({})
        self.train_metrics = metrics.clone("train/")
        self.val_metrics = metrics.clone("val/")
        self.test_metrics = metrics.clone("test/")
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.lr_config = {
            "interval": lr_interval,
            "frequency": lr_frequency,
            "monitor": lr_monitor,
            "strict": False,  # a run without validation has no val/loss to monitor
        }
        self.compile_net = compile
        self.scale_lr = scale_lr

    def forward(self, inputs: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Return the predictions of the net for the inputs of a batch."""
        if isinstance(inputs, Mapping):
            return self.net(**inputs)
        return self.net(inputs)

    def shared_step(self, batch: Batch, stage: Stage) -> Tensor:
        """Return the mean loss `()` of a batch and update the metrics of the stage."""
        inputs, targets = batch
        predictions = self(inputs)
        loss = self.loss(predictions, targets)
        # Once per sample, because MeanMetric ignores weights if nan_strategy is "disable".
        losses = loss.detach().expand(len(targets))
        mean_loss = getattr(self, f"{stage}_loss")
        mean_loss.update(losses)
        metrics = getattr(self, f"{stage}_metrics")
        metrics.update(predictions.detach(), targets)
        return loss

    def log_epoch(self, stage: Stage) -> None:
        """Log the mean loss and the metrics of an epoch; Lightning then resets them.

        Once per epoch, because `self.log` takes as long as a training step of a small net.
        """
        mean_loss = getattr(self, f"{stage}_loss")
        metrics = getattr(self, f"{stage}_metrics")
        self.log(f"{stage}/loss", mean_loss, prog_bar=True)
        self.log_dict(metrics, prog_bar=True)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss to minimise."""
        return self.shared_step(batch, "train")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the validation metrics."""
        self.shared_step(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Update the test metrics."""
        self.shared_step(batch, "test")

    def on_train_batch_end(self, outputs: STEP_OUTPUT, batch: Batch, batch_idx: int) -> None:
        """Log the loss of the steps at which loggers write."""
        every = self.trainer.log_every_n_steps
        if every and self.global_step % every == 0:
            results = cast(dict[str, Tensor], outputs)
            self.log("train/loss_step", results["loss"])

    def on_train_epoch_end(self) -> None:
        """Log the metrics of the training set, averaged over the epoch."""
        self.log_epoch("train")

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the validation set."""
        self.log_epoch("val")

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the test set."""
        self.log_epoch("test")

    def configure_model(self) -> None:
        """Compile the net in place, which keeps the names in its checkpoints."""
        settings = self.compile_net
        self.compile_net = False  # called again before the test
        if not settings:
            return
        if isinstance(settings, str):
            self.net.compile(mode=settings)
        elif isinstance(settings, Mapping):
            self.net.compile(**settings)
        else:
            self.net.compile()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer and the scheduler.

        Raises:
            ValueError: if the optimizer does not take its arguments.
        """
        try:
            optimizer = self.optimizer(self.parameters(), **self.fused_override())
        except TypeError as error:
            raise ValueError(f"model.optimizer has a value of a wrong type: {error}") from error
        factor = self.lr_factor()
        if factor > 1:
            for group in optimizer.param_groups:
                group["lr"] *= factor  # a resumed run then takes that of its checkpoint
            note = "learning rate: multiplied by %d (processes x accumulated batches), now %g"
            rank_zero_only(log.info)(note, factor, optimizer.param_groups[0]["lr"])
        if self.scheduler is None:
            return optimizer
        scheduler = self.scheduler(optimizer, **self.step_counts(), **self.scaled_peaks(factor))
        lr_config = {"scheduler": scheduler, **self.lr_config}
        return {"optimizer": optimizer, "lr_scheduler": lr_config}

    def step_counts(self) -> dict[str, int | float]:
        """Return the number of optimizer steps of the run, for the arguments given as None."""
        keywords = getattr(self.scheduler, "keywords", {})
        missing = [name for name in STEP_COUNTS if keywords.get(name, 0) is None]
        return {name: self.trainer.estimated_stepping_batches for name in missing}

    def lr_factor(self) -> int:
        """Return what the learning rate is multiplied by."""
        if not self.scale_lr:
            return 1
        return self.trainer.world_size * self.trainer.accumulate_grad_batches

    def scaled_peaks(self, factor: int) -> dict[str, float]:
        """Return the learning rates that the scheduler sets, multiplied by `factor`."""
        keywords = getattr(self.scheduler, "keywords", {})
        peaks = PEAKS if factor > 1 else ()
        return {name: keywords[name] * factor for name in peaks if name in keywords}

    def fused_override(self) -> dict[str, bool]:
        """Return `fused=False` where an optimizer that asks for fused kernels cannot have them.

        Lightning refuses to clip gradients of a fused optimizer under mixed precision.
        """
        keywords = getattr(self.optimizer, "keywords", {})
        if not keywords.get("fused"):
            return {}
        devices = {parameter.device.type for parameter in self.parameters()}
        lacks_kernels = not devices.issubset(FUSED_DEVICES)
        is_mixed = "mixed" in str(self.trainer.precision)
        clips_mixed = is_mixed and self.trainer.gradient_clip_val
        if lacks_kernels or clips_mixed:
            return {"fused": False}
        return {}
