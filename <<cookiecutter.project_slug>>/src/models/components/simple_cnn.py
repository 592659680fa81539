"""A small convolutional network."""

from torch import Tensor, nn


class SimpleCNN(nn.Module):
    """Three convolutions that halve the image twice, and a linear layer on the mean over space.

    Args:
        in_channels: 1 for grey images, 3 for colour.
        width: channels after the first convolution; each further one doubles them.
        output_size: number of classes.
    """

    def __init__(self, in_channels: int = 1, width: int = 32, output_size: int = 10) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *block(in_channels, width),
            nn.MaxPool2d(2),
            *block(width, 2 * width),
            nn.MaxPool2d(2),
            *block(2 * width, 4 * width),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * width, output_size),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images `(B, C, H, W)` to logits `(B, output_size)`."""
        return self.layers(images)


def block(channels_in: int, channels_out: int) -> tuple[nn.Module, ...]:
    """Return a 3x3 convolution that keeps height and width, batch normalisation and ReLU."""
    return (
        nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )
