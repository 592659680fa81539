"""torchvision's ResNet-18, for small images or with pretrained weights for photos.

Source: K. He, X. Zhang, S. Ren and J. Sun, Deep Residual Learning for Image Recognition, 2015;
section 4.2 describes the first layer for small images.
"""

from collections.abc import Mapping
from pickle import UnpicklingError

import torch
from torch import Tensor, nn
from torchvision import models


def resnet18(
    in_channels: int, num_classes: int, pretrained: str | bool | None = None
) -> models.ResNet:
    """Return a ResNet-18 that maps images `(B, C, H, W)` to logits `(B, num_classes)`.

    Its first layers are made for 224x224 images, which they shrink by four. For small images they
    are replaced by a convolution that keeps the size.

    Args:
        in_channels: 1 for grey images, 3 for colour.
        num_classes: number of outputs.
        pretrained: a file with torchvision's weights, such as `resnet18-f37072fd.pth`; True
            downloads them. The last layer is new. False: the same layers with random weights.
            None: the layers for small images.

    Raises:
        ValueError: if the file holds no weights: when the net is called, unless a checkpoint, which
            has them, is loaded before.
        RuntimeError: if they are of another net.
    """
    net = models.resnet18(num_classes=num_classes)
    if pretrained is None:
        net.conv1 = nn.Conv2d(in_channels, 64, kernel_size=3, padding=1, bias=False)
        net.maxpool = nn.Identity()
        return net
    net.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
    if not pretrained:
        return net
    try:
        weights = dict(pretrained_weights(pretrained))
        if in_channels != 3:
            kernel = weights["conv1.weight"].mean(dim=1, keepdim=True)
            weights["conv1.weight"] = kernel.expand(-1, in_channels, -1, -1) * 3 / in_channels
        net.load_state_dict(weights | {"fc.weight": net.fc.weight, "fc.bias": net.fc.bias})
    except ValueError as error:
        fail_when_called(net, error)
    return net


def fail_when_called(net: nn.Module, error: ValueError) -> None:
    """Make a net raise an error when it is called, unless weights are loaded before."""

    def fail(*_: object) -> None:
        raise error

    handle = net.register_forward_pre_hook(fail)
    net.register_load_state_dict_post_hook(lambda *_: handle.remove())


def pretrained_weights(pretrained: str | bool) -> Mapping[str, Tensor]:
    """Return the weights in a file, or those that torchvision downloads."""
    try:
        if pretrained is True:
            return models.ResNet18_Weights.DEFAULT.get_state_dict(progress=False, check_hash=True)
        return torch.load(pretrained, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, UnpicklingError) as error:
        raise ValueError(
            f"pretrained={pretrained} holds no weights ({type(error).__name__}): download "
            f"{models.ResNet18_Weights.DEFAULT.url} and set model.net.pretrained=FILE"
        ) from None
