"""The loop one would write by hand: MNIST in memory, fused Adam, no framework.

python bare_loop.py DATA_DIR [--net dense] [--epochs 3] [--clip 0.5] [--accelerator gpu]
"""

import argparse
import importlib

import torch
from stopwatch import Stopwatch
from torch import nn
from torchvision.datasets import MNIST

NETS = {
    "dense": ("simple_dense_net.SimpleDenseNet", {"lin1_size": 128, "lin2_size": 256}),
    "cnn": ("simple_cnn.SimpleCNN", {}),
    "resnet18": ("resnet.resnet18", {}),
}

parser = argparse.ArgumentParser()
parser.add_argument("data_dir")
parser.add_argument("--net", default="dense", choices=NETS)
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--steps", type=int, default=None, help="an epoch; default: all")
parser.add_argument("--clip", type=float, default=None)
parser.add_argument("--accelerator", default="cpu")
parser.add_argument("--val-size", type=int, default=5000)
parser.add_argument("--imports", default="", help="modules to import as well, by commas")
args = parser.parse_args()
for module in filter(None, args.imports.split(",")):
    importlib.import_module(module)

device = torch.device("cuda" if args.accelerator == "gpu" else "cpu")
mnist = MNIST(args.data_dir, train=True)
images = mnist.data.unsqueeze(1).float().div_(255).sub_(0.1307).div_(0.3081).to(device)
labels = mnist.targets.to(device)
order = torch.randperm(len(images))
train_rows, val_rows = order[args.val_size :], order[: args.val_size]

path, settings = NETS[args.net]
module, name = path.split(".")
net = getattr(importlib.import_module(f"src.models.components.{module}"), name)(**settings)
net = net.to(device)
optimizer = torch.optim.Adam(net.parameters(), lr=0.002, fused=True)
loss_of = nn.CrossEntropyLoss()
watch = Stopwatch(torch.cuda.synchronize if device.type == "cuda" else lambda: None)

for _ in range(args.epochs):
    watch.epoch_starts()
    net.train()
    for rows in train_rows[torch.randperm(len(train_rows))].split(64)[: args.steps]:
        rows = rows.to(device)
        loss = loss_of(net(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        if args.clip:
            nn.utils.clip_grad_norm_(net.parameters(), args.clip)
        optimizer.step()
        watch.step_ends()
    watch.training_ends()
    net.eval()
    with torch.no_grad():
        batches = val_rows.split(64)[: args.steps]
        right = sum((net(images[rows]).argmax(1) == labels[rows]).sum() for rows in batches)
    print(f"val/acc {int(right) / len(val_rows):.4f}")
    watch.epoch_ends()
