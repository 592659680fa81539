"""Your model: what it computes, what it is fitted to and what is measured."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from src.models.lit_module import LitModule


class MyModule(LitModule):
    """Classify; override `shared_step` of `LitModule` where a batch is no (inputs, targets).

    Args:
        num_features: number of values of an input.
        num_classes: number of classes.
        hidden_size: width of the hidden layer.
        optimizer: called with the parameters.
        scheduler: called with the optimizer; None keeps the learning rate constant.
        lr_interval: whether the scheduler steps each `epoch` or each `step`.
        lr_monitor: the metric that ReduceLROnPlateau follows.
        compile: True, a mode or keyword arguments of `torch.compile`.
        scale_lr: multiply the learning rate by the number of processes and accumulated batches.
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int,
        hidden_size: int,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler] | None = None,
        lr_interval: Literal["epoch", "step"] = "epoch",
        lr_monitor: str = "val/loss",
        compile: bool | str | Mapping[str, Any] = False,
        scale_lr: bool = False,
    ) -> None:
        super().__init__(
            net=nn.Sequential(
                nn.Linear(num_features, hidden_size),
                nn.ReLU(),
                nn.Linear(hidden_size, num_classes),
            ),
            loss=nn.CrossEntropyLoss(),
            metrics=MetricCollection({"acc": MulticlassAccuracy(num_classes, average="micro")}),
            optimizer=optimizer,
            scheduler=scheduler,
            lr_interval=lr_interval,
            lr_monitor=lr_monitor,
            compile=compile,
            scale_lr=scale_lr,
        )
