"""Cross-entropy for a known number of classes."""

from torch import Tensor, nn


class ClassLoss(nn.CrossEntropyLoss):
    """Cross-entropy of labels `(B,)` and logits `(B, num_classes)`.

    Logits of more classes would train without a word, and on a GPU fewer end in an error that does
    not name the mistake.

    Args:
        num_classes: number of classes in the data.
        settings: of `torch.nn.CrossEntropyLoss`.
    """

    def __init__(self, num_classes: int, **settings: float) -> None:
        super().__init__(**settings)
        self.num_classes = num_classes

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of a batch, `()`.

        Raises:
            ValueError: if the net has not an output for each class.
        """
        if logits.shape[1] != self.num_classes:
            raise ValueError(
                f"The net has {logits.shape[1]} outputs, but the data have {self.num_classes} "
                "classes: leave out model.net.num_classes, which is taken from the data"
            )
        return super().forward(logits, labels)
