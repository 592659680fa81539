"""The training loop of PyTorch's ImageNet example: ImageFolder, PIL, DataLoader, SGD.

python image_loop.py FOLDER [--source memory] [--size 224] [--workers 8] [--precision bf16-mixed]

FOLDER has train/CLASS/. With `--source memory` the first batches, decoded and normalised, are
given again and again: what the loop does when it never waits for data. Unlike the example, no step
reads its loss, which would wait for the GPU.
"""

import argparse
from collections.abc import Iterator
from itertools import cycle, islice

import torch
from options import MEAN, STD, compiled, synchronize
from stopwatch import Stopwatch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import models, transforms
from torchvision.datasets import ImageFolder

from src.models.components.simple_cnn import SimpleCNN

IN_MEMORY = 8  # batches

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("--source", default="files", choices=["files", "memory"])
parser.add_argument("--net", default="resnet50", choices=["cnn", "resnet18", "resnet50"])
parser.add_argument("--size", type=int, default=224)
parser.add_argument("--crop", default="random", choices=["random", "center"])
parser.add_argument("--batch-size", type=int, default=128)
parser.add_argument("--workers", type=int, default=8)
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--steps", type=int, default=None, help="an epoch; default: all")
parser.add_argument("--precision", default="32-true", choices=["32-true", "bf16-mixed"])
parser.add_argument("--compile", default="false")
parser.add_argument("--channels-last", action="store_true")
parser.add_argument("--accelerator", default="cpu")
args = parser.parse_args()

device = torch.device("cuda" if args.accelerator == "gpu" else "cpu")
crops = {
    "random": [transforms.RandomResizedCrop(args.size), transforms.RandomHorizontalFlip()],
    "center": [transforms.Resize(args.size), transforms.CenterCrop(args.size)],
}
transform = transforms.Compose(
    [*crops[args.crop], transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
)
data = ImageFolder(f"{args.folder}/train", transform)
loader = DataLoader(
    data,
    args.batch_size,
    shuffle=True,
    num_workers=args.workers,
    pin_memory=device.type == "cuda",
    persistent_workers=args.workers > 0,
    drop_last=True,
)
steps = min(args.steps or len(loader), len(loader))
kept = list(islice(loader, IN_MEMORY)) if args.source == "memory" else []

classes = len(data.classes)
if args.net == "cnn":
    net = SimpleCNN(in_channels=3, num_classes=classes, width=32)
else:
    net = getattr(models, args.net)(num_classes=classes)
memory_format = torch.channels_last if args.channels_last else torch.contiguous_format
net = compiled(net.to(device, memory_format=memory_format), args.compile)
optimizer = torch.optim.SGD(net.parameters(), 0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
loss_of = nn.CrossEntropyLoss()
watch = Stopwatch(synchronize(device))


def batches() -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of an epoch, on the host."""
    return islice(cycle(kept) if kept else iter(loader), steps)


for _ in range(args.epochs):
    watch.epoch_starts()
    net.train()
    for images, labels in batches():
        images = images.to(device, non_blocking=True, memory_format=memory_format)
        labels = labels.to(device, non_blocking=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16-mixed"):
            loss = loss_of(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step_ends()
    watch.training_ends()
    watch.epoch_ends()
