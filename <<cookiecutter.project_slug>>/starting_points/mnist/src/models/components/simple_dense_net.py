"""A small fully connected network."""

from itertools import pairwise

from torch import Tensor, nn


class SimpleDenseNet(nn.Module):
    """Three hidden layers, each with batch normalisation and ReLU.

    Args:
        num_classes: number of outputs.
        input_size: values of an image, `C * H * W`.
        lin1_size: width of the first hidden layer.
        lin2_size: width of the second.
        lin3_size: width of the third.
    """

    def __init__(
        self,
        num_classes: int,
        input_size: int = 784,
        lin1_size: int = 64,
        lin2_size: int = 128,
        lin3_size: int = 64,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for size_in, size_out in pairwise([input_size, lin1_size, lin2_size, lin3_size]):
            layers += [nn.Linear(size_in, size_out), nn.BatchNorm1d(size_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(lin3_size, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """Map images `(B, C, H, W)` to logits `(B, num_classes)`."""
        return self.layers(images)
