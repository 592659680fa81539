"""Supervised learning: net, loss, metrics, optimizer and scheduler chosen by the configuration."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import STEP_OUTPUT, OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric, MetricCollection

Batch = tuple[Tensor | Mapping[str, Tensor], Tensor]
Stage = Literal["train", "val", "test"]

STEP_COUNTS = ("total_steps", "T_max", "total_iters")  # scheduler arguments filled in if null
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
    ) -> None:
        super().__init__()
        self.net = net
        self.loss = loss
        # One per stage: a validation within an epoch must not reset the metrics of training.
        self.train_loss, self.val_loss, self.test_loss = (
            MeanMetric(nan_strategy="disable") for _ in range(3)
        )
        metrics = metrics or MetricCollection({})
        self.train_metrics, self.val_metrics, self.test_metrics = (
            metrics.clone(f"{stage}/") for stage in ("train", "val", "test")
        )
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.lr_config = {"interval": lr_interval, "frequency": lr_frequency, "monitor": lr_monitor}
        self.lr_config["strict"] = False  # a run without validation has no val/loss to monitor
        self.compile_net = compile

    def forward(self, inputs: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Return the predictions of the net for the inputs of a batch."""
        return self.net(**inputs) if isinstance(inputs, Mapping) else self.net(inputs)

    def shared_step(self, batch: Batch, stage: Stage) -> Tensor:
        """Return the mean loss `()` of a batch and update the metrics of the stage."""
        inputs, targets = batch
        predictions = self(inputs)
        loss = self.loss(predictions, targets)
        # Once per sample, because MeanMetric ignores weights if nan_strategy is "disable".
        getattr(self, f"{stage}_loss").update(loss.detach().expand(len(targets)))
        getattr(self, f"{stage}_metrics").update(predictions.detach(), targets)
        return loss

    def log_epoch(self, stage: Stage) -> None:
        """Log the mean loss and the metrics of an epoch; Lightning then resets them.

        Once per epoch, because `self.log` takes as long as a training step of a small net.
        """
        self.log(f"{stage}/loss", getattr(self, f"{stage}_loss"), prog_bar=True)
        self.log_dict(getattr(self, f"{stage}_metrics"), prog_bar=True)

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
            self.log("train/loss_step", cast(dict[str, Tensor], outputs)["loss"])

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
        settings, self.compile_net = self.compile_net, False  # called again before the test
        if settings:
            keywords = settings if isinstance(settings, Mapping) else {}
            self.net.compile(**({"mode": settings} if isinstance(settings, str) else keywords))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build the optimizer and the scheduler."""
        optimizer = self.optimizer(self.parameters(), **self.fused_override())
        if self.scheduler is None:
            return optimizer
        keywords = getattr(self.scheduler, "keywords", {})
        counts = [name for name in STEP_COUNTS if keywords.get(name, 0) is None]
        steps = {name: self.trainer.estimated_stepping_batches for name in counts}
        scheduler = self.scheduler(optimizer, **steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, **self.lr_config}}

    def fused_override(self) -> dict[str, bool]:
        """Return `fused=False` where an optimizer that asks for fused kernels cannot have them.

        Lightning refuses to clip gradients of a fused optimizer under mixed precision.
        """
        fused = getattr(self.optimizer, "keywords", {}).get("fused")
        clips_mixed = self.trainer.gradient_clip_val and "mixed" in str(self.trainer.precision)
        devices = {parameter.device.type for parameter in self.parameters()}
        return {"fused": False} if fused and (clips_mixed or devices - FUSED_DEVICES) else {}
