"""Loss and metrics for the two tasks on tables: to predict a number, or a class."""

from torch import Tensor, nn
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection, R2Score
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score


class ScaledMSELoss(nn.Module):
    """Mean squared error in units of a variance, so that it does not depend on the target's unit.

    Args:
        std: standard deviation of the targets.
    """

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Return the mean `()` over predictions and targets, `(B,)` each."""
        return ((predictions - targets) / self.std).square().mean()


def loss_for_task(task: str, target_std: float = 1.0) -> nn.Module:
    """Return cross-entropy for `classification`, and the scaled squared error for `regression`."""
    return nn.CrossEntropyLoss() if task == "classification" else ScaledMSELoss(target_std)


def metrics_for_task(task: str, num_outputs: int) -> MetricCollection:
    """Return accuracy and F1, or errors in the target's unit (`mae`, `rmse`) and `r2`."""
    if task == "classification":
        return MetricCollection(
            {
                "acc": MulticlassAccuracy(num_outputs, average="micro"),
                "f1": MulticlassF1Score(num_outputs),
            }
        )
    return MetricCollection(
        {"mae": MeanAbsoluteError(), "rmse": MeanSquaredError(squared=False), "r2": R2Score()}
    )
