"""Networks: plain `nn.Module`, without training code."""
