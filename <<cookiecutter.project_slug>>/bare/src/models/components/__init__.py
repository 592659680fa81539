"""Networks: plain `torch.nn.Module`s."""
