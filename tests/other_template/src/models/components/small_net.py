"""A net of two layers."""

import torch
from torch import nn


class SmallNet(nn.Module):
    def __init__(self, input_size: int = 13, width: int = 32, output_size: int = 3) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(input_size, width), nn.ReLU(), nn.Linear(width, output_size)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)
