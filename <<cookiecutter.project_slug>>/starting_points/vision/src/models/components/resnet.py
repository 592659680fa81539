"""torchvision's ResNet-18 for small images.

Source: K. He, X. Zhang, S. Ren and J. Sun, Deep Residual Learning for Image Recognition, 2015;
section 4.2 describes the first layer for small images.
"""

from torch import nn
from torchvision import models


def resnet18(in_channels: int = 1, num_classes: int = 10) -> models.ResNet:
    """Return a ResNet-18 that maps images `(B, C, H, W)` to logits `(B, num_classes)`.

    The first layers are made for 224x224 images, which they shrink by four; they are replaced by a
    convolution that keeps the size.
    """
    net = models.resnet18(num_classes=num_classes)
    net.conv1 = nn.Conv2d(in_channels, 64, kernel_size=3, padding=1, bias=False)
    net.maxpool = nn.Identity()
    return net
