"""A multilayer perceptron for tables."""

from torch import Tensor, nn


class MLP(nn.Module):
    """Hidden layers of one width with ReLU and dropout.

    The last layer learns a standardised target; what comes out is in the target's own unit.

    Args:
        num_features: values of a row.
        num_outputs: values to predict: one for each class, or one number.
        target_mean: of the training rows' targets; added to the output.
        target_std: of the training rows' targets; multiplies the output.
        width: of the hidden layers.
        depth: number of hidden layers.
        dropout: share of values set to zero while training.
    """

    def __init__(
        self,
        num_features: int,
        num_outputs: int = 1,
        target_mean: float = 0.0,
        target_std: float = 1.0,
        width: int = 64,
        depth: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.target_mean, self.target_std = target_mean, target_std
        layers: list[nn.Module] = []
        for i in range(depth):
            size = width if i else num_features
            layers += [nn.Linear(size, width), nn.ReLU(), nn.Dropout(dropout)]
        last = nn.Linear(width if depth else num_features, num_outputs)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, features: Tensor) -> Tensor:
        """Map features `(B, num_features)` to numbers `(B,)`, or to logits `(B, num_outputs)`."""
        outputs = self.layers(features).float() * self.target_std + self.target_mean
        return outputs.squeeze(1) if outputs.shape[1] == 1 else outputs
