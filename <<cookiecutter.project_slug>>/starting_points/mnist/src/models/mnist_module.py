"""Image classification: cross-entropy, accuracy, and the best validation accuracy so far."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MaxMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from src.models.components.class_loss import ClassLoss
from src.models.lit_module import LitModule


class MNISTLitModule(LitModule):
    """Classify images; logs `loss` and `acc` of each stage, and `val/acc_best`.

    Args:
        net: maps images `(B, C, H, W)` to logits `(B, num_classes)`.
        optimizer: called with the parameters.
        num_classes: number of classes.
        scheduler: called with the optimizer; None keeps the learning rate constant.
        lr_interval: whether the scheduler steps each `epoch` or each `step`.
        lr_monitor: the metric that ReduceLROnPlateau follows.
        compile: True, a mode or keyword arguments of `torch.compile`.
        scale_lr: multiply the learning rate by the number of processes and accumulated batches.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: Callable[..., Optimizer],
        num_classes: int,
        scheduler: Callable[..., LRScheduler] | None = None,
        lr_interval: Literal["epoch", "step"] = "epoch",
        lr_monitor: str = "val/loss",
        compile: bool | str | Mapping[str, Any] = False,
        scale_lr: bool = False,
    ) -> None:
        accuracy = MulticlassAccuracy(num_classes, average="micro", validate_args=False)
        super().__init__(
            net=net,
            loss=ClassLoss(num_classes),
            metrics=MetricCollection({"acc": accuracy}),
            optimizer=optimizer,
            scheduler=scheduler,
            lr_interval=lr_interval,
            lr_monitor=lr_monitor,
            compile=compile,
            scale_lr=scale_lr,
        )
        self.val_acc_best = MaxMetric()

    def on_train_start(self) -> None:
        """Forget the accuracy of the sanity check."""
        self.val_acc_best.reset()

    def on_validation_epoch_end(self) -> None:
        """Log the metrics, and the best accuracy so far, which a sweep can optimize."""
        self.log_epoch("val")
        self.val_acc_best.update(self.val_metrics.compute()["val/acc"])
        self.log("val/acc_best", self.val_acc_best.compute(), sync_dist=True)
