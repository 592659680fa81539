"""What a configuration may build: add the packages that yours needs.

A configuration names what to call, and a checkpoint carries a configuration: without this list, a
file from somewhere else could call anything. `name.*` allows all that lies below `name`.
"""

ALLOWED = (
    "src.*",
    "lightning.pytorch.*",
    "torch.nn.*",
    "torch.optim.*",
    "torch.utils.data.*",
    "torch.tensor",  # weights of classes in a loss
    "torchmetrics.*",
    "torchvision.datasets.*",
    "torchvision.models.*",
    "torchvision.ops.*",
    "torchvision.transforms.*",
)
