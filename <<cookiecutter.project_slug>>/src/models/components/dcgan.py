"""Generator and discriminator for grey images of 28x28 pixels.

Source: A. Radford, L. Metz and S. Chintala, Unsupervised Representation Learning with Deep
Convolutional Generative Adversarial Networks, 2016.
"""

from torch import Tensor, nn


class Generator(nn.Module):
    """Noise becomes 7x7 pixels, then 14x14, then 28x28.

    Args:
        latent_size: numbers of noise an image.
        width: channels before the last layer.
        low: the value of black, in normalised images.
        high: the value of white.
    """

    def __init__(
        self, latent_size: int = 64, width: int = 32, low: float = -0.9, high: float = 2.0
    ) -> None:
        super().__init__()
        self.low, self.high = low, high
        self.layers = nn.Sequential(
            nn.Linear(latent_size, 2 * width * 7 * 7),
            nn.Unflatten(1, (2 * width, 7, 7)),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, kernel_size=4, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.ConvTranspose2d(width, 1, kernel_size=4, stride=2, padding=1),
            nn.Sigmoid(),
        )

    def forward(self, noise: Tensor) -> Tensor:
        """Map noise `(B, latent_size)` to images `(B, 1, 28, 28)`."""
        return self.low + (self.high - self.low) * self.layers(noise)


class Discriminator(nn.Sequential):
    """Two convolutions that halve the image, and one number: maps `(B, 1, 28, 28)` to `(B,)`.

    Args:
        width: channels after the first convolution.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__(
            nn.Conv2d(1, width, kernel_size=4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Dropout2d(0.3),
            nn.Conv2d(width, 2 * width, kernel_size=4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Dropout2d(0.3),
            nn.Flatten(),
            nn.Linear(2 * width * 7 * 7, 1),
            nn.Flatten(0),
        )
