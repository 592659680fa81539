"""Supervised learning, the common case: net, loss, metrics, optimizer and scheduler by config."""

from collections.abc import Callable, Mapping
from typing import Literal, cast

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import STEP_OUTPUT, OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MeanMetric, MetricCollection

Batch = tuple[Tensor | Mapping[str, Tensor], Tensor]
Stage = Literal["train", "val", "test"]


class LitModule(LightningModule):
    """Fit a net to pairs of inputs and targets.

    Args:
        net: maps the inputs of a batch to predictions; inputs that are a dict become keywords.
        loss: maps predictions and targets to a scalar.
        metrics: maps predictions and targets to what is logged as `train/NAME`, `val/NAME` and
            `test/NAME`; the loss is logged beside them.
        optimizer: called with the parameters.
        scheduler: called with the optimizer, and with the number of steps of the run if it has a
            keyword `total_steps: null`; None keeps the learning rate as it is.
        lr_interval: whether the scheduler steps each `epoch` or each `step`.
        lr_monitor: the metric that ReduceLROnPlateau looks at.
        lr_frequency: how many intervals lie between two steps of the scheduler.
        monitor: the metric that tells the best epoch: `configs/common/callbacks` reads it.
        mode: whether that metric should be `min` or `max`.
        compile: compile the net with `torch.compile`.
    """

    def __init__(
        self,
        net: nn.Module,
        loss: nn.Module,
        metrics: MetricCollection,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler] | None = None,
        lr_interval: Literal["epoch", "step"] = "epoch",
        lr_monitor: str = "val/loss",
        lr_frequency: int = 1,
        monitor: str = "val/loss",
        mode: Literal["min", "max"] = "min",
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.net = net
        self.loss = loss
        # One of each a stage: validation in the midst of an epoch must not reset training's.
        self.train_loss, self.val_loss, self.test_loss = (
            MeanMetric(nan_strategy="disable") for _ in range(3)
        )
        self.train_metrics, self.val_metrics, self.test_metrics = (
            metrics.clone(f"{stage}/") for stage in ("train", "val", "test")
        )
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.lr_config = {
            "interval": lr_interval,
            "monitor": lr_monitor,
            "frequency": lr_frequency,
        }
        self.monitor, self.mode = monitor, mode
        self.compile_net = compile

    def forward(self, inputs: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Map the inputs of a batch to what the net makes of them."""
        return self.net(**inputs) if isinstance(inputs, Mapping) else self.net(inputs)

    def shared_step(self, batch: Batch, stage: Stage) -> Tensor:
        """Return the mean loss `()` of a batch, and add it and the metrics to the epoch's."""
        inputs, targets = batch
        predictions = self(inputs)
        loss = self.loss(predictions, targets)
        # Once a sample: torchmetrics 1.9 ignores weights where it does not look for NaN.
        getattr(self, f"{stage}_loss").update(loss.detach().expand(len(targets)))
        getattr(self, f"{stage}_metrics").update(predictions.detach(), targets)
        return loss

    def log_epoch(self, stage: Stage) -> None:
        """Log the mean loss and the metrics of an epoch; Lightning then resets them.

        Once an epoch: `self.log` in a step takes as long as the step of a small net itself.
        """
        self.log(f"{stage}/loss", getattr(self, f"{stage}_loss"), prog_bar=True)
        self.log_dict(getattr(self, f"{stage}_metrics"), prog_bar=True)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss to minimise."""
        return self.shared_step(batch, "train")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure a batch of the validation set."""
        self.shared_step(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure a batch of the test set."""
        self.shared_step(batch, "test")

    def on_train_batch_end(self, outputs: STEP_OUTPUT, batch: Batch, batch_idx: int) -> None:
        """Log the loss of the steps that reach the trackers, and of no others."""
        every = self.trainer.log_every_n_steps  # ty: ignore[missing-attribute]
        if every and self.global_step % every == 0:
            self.log("train/loss_step", cast(dict[str, Tensor], outputs)["loss"])

    def on_train_epoch_end(self) -> None:
        """Log the metrics of the training set, over the weights of the whole epoch."""
        self.log_epoch("train")

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the validation set."""
        self.log_epoch("val")

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the test set."""
        self.log_epoch("test")

    def configure_model(self) -> None:
        """Compile the net in place: the names in its checkpoints stay the same."""
        if self.compile_net:
            self.net.compile()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Build optimizer and scheduler from their partials."""
        optimizer = self.optimizer(self.parameters())
        if self.scheduler is None:
            return optimizer
        settings = {}
        if getattr(self.scheduler, "keywords", {}).get("total_steps", 0) is None:
            settings["total_steps"] = self.trainer.estimated_stepping_batches
        scheduler = self.scheduler(optimizer, **settings)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, **self.lr_config}}
