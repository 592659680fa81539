"""The stock recipe of Lightning templates: items one by one, metrics logged in each step.

python stock_recipe.py DATA_DIR [--epochs 3] [--seed 0] [--test] [--net resnet18]
                       [--batch-size 512] [--precision bf16-mixed] [--compile reduce-overhead]
"""

import argparse

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger
from lightning_stopwatch import LightningStopwatch
from options import build_net, compiled
from torch.utils.data import DataLoader, random_split
from torchmetrics import MaxMetric, MeanMetric
from torchmetrics.classification import MulticlassAccuracy
from torchvision.datasets import MNIST
from torchvision.transforms import Compose, Normalize, ToTensor


class StockModule(LightningModule):
    """As in the templates: a metric object for each stage, updated, computed and logged."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net
        self.criterion = torch.nn.CrossEntropyLoss()
        self.train_acc = MulticlassAccuracy(10, average="micro")
        self.val_acc = MulticlassAccuracy(10, average="micro")
        self.test_acc = MulticlassAccuracy(10, average="micro")
        self.train_loss, self.val_loss, self.test_loss = MeanMetric(), MeanMetric(), MeanMetric()
        self.val_acc_best = MaxMetric()

    def step(self, batch, stage):
        x, y = batch
        logits = self.net(x)
        loss = self.criterion(logits, y)
        mean, acc = getattr(self, f"{stage}_loss"), getattr(self, f"{stage}_acc")
        mean(loss)
        acc(torch.argmax(logits, dim=1), y)
        self.log(f"{stage}/loss", mean, on_step=False, on_epoch=True, prog_bar=True)
        self.log(f"{stage}/acc", acc, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def training_step(self, batch, batch_idx):
        return self.step(batch, "train")

    def validation_step(self, batch, batch_idx):
        self.step(batch, "val")

    def test_step(self, batch, batch_idx):
        self.step(batch, "test")

    def on_validation_epoch_end(self):
        self.val_acc_best(self.val_acc.compute())
        self.log("val/acc_best", self.val_acc_best.compute(), sync_dist=True, prog_bar=True)

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=0.002)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=10)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "monitor": "val/loss"},
        }


parser = argparse.ArgumentParser()
parser.add_argument("data_dir")
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--steps", type=int, default=None, help="an epoch; default: all")
parser.add_argument("--seed", type=int, default=None)
parser.add_argument("--test", action="store_true")
parser.add_argument("--out", default=".")
parser.add_argument("--accelerator", default="cpu")
parser.add_argument("--net", default="dense")
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--precision", default="32-true")
parser.add_argument("--compile", default="false")
parser.add_argument("--val-size", type=int, default=5000)
args = parser.parse_args()

if args.seed is not None:
    seed_everything(args.seed, workers=True)
transform = Compose([ToTensor(), Normalize((0.1307,), (0.3081,))])
mnist = MNIST(args.data_dir, train=True, transform=transform)
train_set, val_set = random_split(
    mnist,
    [len(mnist) - args.val_size, args.val_size],
    generator=torch.Generator().manual_seed(42),
)
test_set = MNIST(args.data_dir, train=False, transform=transform)
checkpoint = ModelCheckpoint(f"{args.out}/checkpoints", monitor="val/acc", mode="max")
trainer = Trainer(
    accelerator=args.accelerator,
    devices=1,
    precision=args.precision,
    max_epochs=args.epochs,
    min_epochs=5 if args.test else 1,
    gradient_clip_val=0.5,
    limit_train_batches=args.steps,
    limit_val_batches=args.steps,
    logger=CSVLogger(args.out),
    callbacks=[
        checkpoint,
        EarlyStopping("val/acc", mode="max", patience=5),
        RichProgressBar(),
        LightningStopwatch(),
    ],
)
model = StockModule(compiled(build_net(args.net), args.compile))
# Without the last, shorter batch, as ours: it would be compiled for.
train_loader = DataLoader(train_set, args.batch_size, shuffle=True, drop_last=True)
trainer.fit(model, train_loader, DataLoader(val_set, args.batch_size))
if args.test:
    test_loader = DataLoader(test_set, args.batch_size)
    trainer.test(model, test_loader, ckpt_path=checkpoint.best_model_path)
