"""The loop one would write by hand: MNIST in memory, fused Adam, no framework.

python bare_loop.py DATA_DIR [--net dense] [--epochs 3] [--clip 0.5] [--accelerator gpu]
                    [--batch-size 512] [--precision bf16-mixed] [--compile reduce-overhead]
"""

import argparse
import importlib

import torch
from options import NETS, build_net, compiled, synchronize
from stopwatch import Stopwatch
from torch import nn
from torchvision.datasets import MNIST

parser = argparse.ArgumentParser()
parser.add_argument("data_dir")
parser.add_argument("--net", default="dense", choices=NETS)
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--steps", type=int, default=None, help="an epoch; default: all")
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--precision", default="32-true", choices=["32-true", "bf16-mixed"])
parser.add_argument("--compile", default="false")
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

net = compiled(build_net(args.net).to(device), args.compile)
optimizer = torch.optim.Adam(net.parameters(), lr=0.002, fused=True)
loss_of = nn.CrossEntropyLoss()
watch = Stopwatch(synchronize(device))
precision = torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16-mixed")
# Without the last, shorter batch: it would be compiled for.
whole = len(train_rows) // args.batch_size * args.batch_size

for _ in range(args.epochs):
    watch.epoch_starts()
    net.train()
    shuffled = train_rows[torch.randperm(len(train_rows))][:whole]
    for rows in shuffled.split(args.batch_size)[: args.steps]:
        rows = rows.to(device)
        with precision:
            loss = loss_of(net(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        if args.clip:
            nn.utils.clip_grad_norm_(net.parameters(), args.clip)
        optimizer.step()
        watch.step_ends()
    watch.training_ends()
    net.eval()
    with torch.no_grad(), precision:
        batches = val_rows.split(args.batch_size)[: args.steps]
        right = sum((net(images[rows]).argmax(1) == labels[rows]).sum() for rows in batches)
    print(f"val/acc {int(right) / len(val_rows):.4f}")
    watch.epoch_ends()
