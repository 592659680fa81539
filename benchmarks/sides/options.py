"""Settings that several sides share."""

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's channels
NETS: dict[str, tuple[str, dict[str, Any]]] = {  # for MNIST
    "dense": ("simple_dense_net.SimpleDenseNet", {"lin1_size": 128, "lin2_size": 256}),
    "cnn": ("simple_cnn.SimpleCNN", {}),
    "resnet18": ("resnet.resnet18", {}),
}


def build_net(name: str) -> nn.Module:
    """Return one of the project's nets for MNIST."""
    path, settings = NETS[name]
    module, function = path.split(".")
    return getattr(importlib.import_module(f"src.models.components.{module}"), function)(**settings)


def compiled(net: nn.Module, setting: str) -> Any:
    """Return a net as `model.compile=SETTING` compiles it: false, true or a mode."""
    if setting == "true":
        net.compile()
    elif setting != "false":
        net.compile(mode=setting)
    return net


def synchronize(device: torch.device) -> Callable[[], object]:
    """Return what waits for a device."""
    return torch.cuda.synchronize if device.type == "cuda" else lambda: None
