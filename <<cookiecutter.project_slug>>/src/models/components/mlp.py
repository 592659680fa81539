"""A multilayer perceptron for tables."""

from torch import Tensor, nn


class MLP(nn.Module):
    """Hidden layers of one width with ReLU and dropout, and one number an example.

    Args:
        in_features: values an example.
        width: of the hidden layers.
        depth: how many there are.
        dropout: share of values set to zero while training.
    """

    def __init__(
        self, in_features: int, width: int = 64, depth: int = 2, dropout: float = 0.1
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(depth):
            layers += [
                nn.Linear(width if i else in_features, width),
                nn.ReLU(),
                nn.Dropout(dropout),
            ]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Map features `(B, in_features)` to predictions `(B,)`."""
        return self.layers(features).squeeze(1)
