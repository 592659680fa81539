"""Supervised learning, the common case: net, loss, metrics, optimizer and scheduler by config."""

from collections.abc import Callable, Mapping
from typing import Literal

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MetricCollection

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
        # One collection a stage: validation in the midst of an epoch must not reset training's.
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
        """Return the mean loss `()` of a batch, and count the batch in the metrics."""
        inputs, targets = batch
        predictions = self(inputs)
        loss = self.loss(predictions, targets)
        metrics: MetricCollection = getattr(self, f"{stage}_metrics")
        metrics.update(predictions.detach(), targets)
        # The size is told, as Lightning can only guess it from inputs that are a dict.
        self.log(f"{stage}/loss", loss, on_epoch=True, on_step=False, batch_size=len(targets))
        return loss

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss to minimise."""
        return self.shared_step(batch, "train")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure a batch of the validation set."""
        self.shared_step(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure a batch of the test set."""
        self.shared_step(batch, "test")

    def on_train_epoch_end(self) -> None:
        """Log the metrics of the training set, and start them anew."""
        self.log_dict(self.train_metrics, prog_bar=True)

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the validation set, and start them anew."""
        self.log_dict(self.val_metrics, prog_bar=True)

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the test set, and start them anew."""
        self.log_dict(self.test_metrics)

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
