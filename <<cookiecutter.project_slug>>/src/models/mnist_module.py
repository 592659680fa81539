"""Image classification: its loss, metrics and optimizer. Start here for a model of your own."""

from collections.abc import Callable
from typing import Literal, cast

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import STEP_OUTPUT, OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MaxMetric, MeanMetric
from torchmetrics.classification import MulticlassAccuracy

Batch = tuple[Tensor, Tensor]
Stage = Literal["train", "val", "test"]


class MNISTLitModule(LightningModule):
    """Classify images of ten digits.

    Args:
        net: maps images `(B, C, H, W)` to logits `(B, num_classes)`.
        optimizer: called with the parameters.
        scheduler: called with the optimizer, and with the number of steps of the run if it has a
            keyword `total_steps: null`; None keeps the learning rate as it is.
        lr_interval: whether the scheduler steps each `epoch` or each `step`.
        lr_monitor: the metric that ReduceLROnPlateau looks at.
        lr_frequency: how many intervals lie between two steps of the scheduler.
        num_classes: number of classes.
        compile: compile the net with `torch.compile`.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler] | None = None,
        lr_interval: Literal["epoch", "step"] = "epoch",
        lr_monitor: str = "val/loss",
        lr_frequency: int = 1,
        num_classes: int = 10,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.net = net
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.lr_config = {
            "interval": lr_interval,
            "monitor": lr_monitor,
            "frequency": lr_frequency,
        }
        self.compile_net = compile
        self.loss = nn.CrossEntropyLoss()
        # One metric for each stage: validation in the midst of an epoch must not reset training's.
        self.train_loss, self.val_loss, self.test_loss = (
            MeanMetric(nan_strategy="disable") for _ in range(3)
        )
        self.train_acc, self.val_acc, self.test_acc = (
            MulticlassAccuracy(num_classes, average="micro", validate_args=False) for _ in range(3)
        )
        self.val_acc_best = MaxMetric()

    def forward(self, images: Tensor) -> Tensor:
        """Map images `(B, C, H, W)` to logits `(B, num_classes)`."""
        return self.net(images)

    def shared_step(self, batch: Batch, stage: Stage) -> Tensor:
        """Return the mean loss `()` of a batch, and add it and the accuracy to the epoch's."""
        images, labels = batch
        logits = self(images)
        loss = self.loss(logits, labels)
        # Once a sample: torchmetrics 1.9 ignores weights where it does not look for NaN.
        getattr(self, f"{stage}_loss").update(loss.detach().expand(len(labels)))
        getattr(self, f"{stage}_acc").update(logits.detach(), labels)
        return loss

    def log_epoch(self, stage: Stage) -> None:
        """Log the mean loss and the accuracy of an epoch; Lightning then resets both.

        Once an epoch: `self.log` in a step takes as long as the step of a small net itself.
        """
        self.log(f"{stage}/loss", getattr(self, f"{stage}_loss"), prog_bar=True)
        self.log(f"{stage}/acc", getattr(self, f"{stage}_acc"), prog_bar=True)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss to minimise."""
        return self.shared_step(batch, "train")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure a batch of the validation set."""
        self.shared_step(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure a batch of the test set."""
        self.shared_step(batch, "test")

    def on_train_start(self) -> None:
        """Forget what the sanity check validated before training."""
        self.val_acc_best.reset()

    def on_train_batch_end(self, outputs: STEP_OUTPUT, batch: Batch, batch_idx: int) -> None:
        """Log the loss of the steps that reach the trackers, and of no others."""
        every = self.trainer.log_every_n_steps  # ty: ignore[missing-attribute]
        if every and self.global_step % every == 0:
            self.log("train/loss_step", cast(dict[str, Tensor], outputs)["loss"])

    def on_train_epoch_end(self) -> None:
        """Log the metrics of the training set, over the weights of the whole epoch."""
        self.log_epoch("train")

    def on_validation_epoch_end(self) -> None:
        """Log the metrics, and the best accuracy so far, which a sweep can optimize."""
        self.log_epoch("val")
        self.val_acc_best.update(self.val_acc.compute())
        self.log("val/acc_best", self.val_acc_best.compute(), sync_dist=True)

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
