"""A small convolutional network."""

from torch import Tensor, nn


class SimpleCNN(nn.Module):
    """Three convolutions, two of which halve the image, and a linear layer on the spatial mean.

    Args:
        in_channels: 1 for grey images, 3 for colour.
        num_classes: number of outputs.
        width: channels of the first convolution; each further one doubles them.
    """

    def __init__(self, in_channels: int, num_classes: int, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *conv_block(in_channels, width),
            nn.MaxPool2d(2),
            *conv_block(width, 2 * width),
            nn.MaxPool2d(2),
            *conv_block(2 * width, 4 * width),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * width, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images `(B, C, H, W)` to logits `(B, num_classes)`."""
        return self.layers(images)


def conv_block(channels_in: int, channels_out: int) -> list[nn.Module]:
    """Return a 3x3 convolution that keeps height and width, batch normalisation and ReLU."""
    return [
        nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    ]
