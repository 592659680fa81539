"""Lightning code written without knowledge of this template passes `make check` and trains."""

import pytest

from tests.conftest import SMALL, Bake, run_in_environment
from tests.documents import shown_files

DATAMODULE = """
from typing import Optional

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split


class OrdinaryDataModule(L.LightningDataModule):
    def __init__(self, batch_size: int = 64, num_workers=0):
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.data_train: Optional[Dataset] = None
        self.data_val = None

    def setup(self, stage=None):
        if self.trainer is not None:
            self.per_device = self.hparams.batch_size // self.trainer.world_size
        data = TensorDataset(torch.randn(100, 28 * 28), torch.randint(0, 10, (100,)))
        self.data_train, self.data_val = random_split(data, [80, 20])
        self.mean = self.data_train.dataset.tensors[0].mean()

    def train_dataloader(self):
        return DataLoader(self.data_train, batch_size=self.hparams.batch_size, shuffle=True)

    def val_dataloader(self):
        assert len(self.data_val) == 20
        return DataLoader(self.data_val, batch_size=self.per_device)

    test_dataloader = val_dataloader
"""
MODULE = """
import lightning as L
import torch
import torch.nn.functional as F
from torch import nn


class OrdinaryModule(L.LightningModule):
    names = ["zero", "one"]

    def __init__(self, hidden=64, lr=1e-3):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(28 * 28, self.hparams.hidden), nn.Linear(hidden, 10))
        self.register_buffer("scale", torch.ones(1))
        self.best = None

    def forward(self, x):
        return self.net(x * self.scale)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        if self.best is None or self.best > loss:
            self.best = loss.item()
        self.log("val/loss", loss)

    def test_step(self, batch, batch_idx):
        x, y = batch
        self.log("test/acc", (self(x).argmax(dim=1) == y).float().mean())

    def on_train_epoch_end(self):
        print(self.trainer.train_dataloader.batch_size, self.net[0].weight.shape)

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams.lr)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
        return {"optimizer": optimizer, "lr_scheduler": scheduler}
"""


@pytest.mark.environment
@pytest.mark.parametrize("starting_point", ["bare"])
def test_ordinary_code_passes_the_check_and_trains(bake: Bake, starting_point: str) -> None:
    folder = bake(starting_point=starting_point)
    for kind, package, name, text in (
        ("data", "data", "OrdinaryDataModule", DATAMODULE),
        ("model", "models", "OrdinaryModule", MODULE),
    ):
        (folder / f"src/{package}/ordinary.py").write_text(text.lstrip())
        config = f"_target_: src.{package}.ordinary.{name}\n"
        (folder / f"configs/{kind}/ordinary.yaml").write_text(config)
    run_in_environment(folder, "make check")
    run_in_environment(
        folder, f"python src/train.py data=ordinary model=ordinary logger=csv {SMALL}"
    )


EXAMPLE = (
    *("src/data/my_datamodule.py", "src/models/my_module.py"),
    *("configs/data/my_data.yaml", "configs/model/my_model.yaml"),
    *("tests/test_data.py", "tests/test_model.py"),
)


@pytest.mark.environment
def test_the_example_can_be_replaced(bake: Bake) -> None:
    folder = bake(starting_point="bare")
    for path, text in shown_files(folder / "docs/own-work.md").items():
        (folder / path).write_text(text, "utf-8")
    for path in EXAMPLE:
        (folder / path).unlink()
    experiments = folder / "configs/experiment"
    (experiments / "points.yaml").rename(experiments / "mon_experience.yaml")
    train = folder / "configs/train.yaml"
    text = train.read_text("utf-8").replace("data: my_data", "data: points")
    train.write_text(text.replace("model: my_model", "model: points"), "utf-8")
    run_in_environment(folder, "make check test")


@pytest.mark.environment
def test_mistakes_in_owners_code_are_found(bake: Bake) -> None:
    folder = bake()
    broken = "from torch import nn\n\nnet = nn.Linear(3, 4, bia=True)\nprint(netz)\n"
    (folder / "src/models/broken.py").write_text(broken)
    printed = run_in_environment(folder, "! ty check src/models --output-format concise")
    assert "unknown-argument" in printed
    assert "unresolved-reference" in printed
