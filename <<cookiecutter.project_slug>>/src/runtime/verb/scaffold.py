"""What `src/new.py` writes: for each kind, the paths and texts of its files.

NAME stands for the name in small letters, CLASS for the same in CamelCase.
"""

DATAMODULE = '''"""NAME: what is in it, and where it comes from."""

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split

Example = tuple[Tensor, ...]


class CLASSDataModule(LightningDataModule):
    """Batches of inputs, float32 `(B, 16)`, and classes, int64 `(B,)`.

    Args:
        batch_size: examples a step, on each device.
        num_workers: processes that fetch; 0 is fastest for what is in memory.
        split_seed: which examples are kept apart; not the run's seed, so that runs compare.
    """

    def __init__(self, batch_size: int = 64, num_workers: int = 0, split_seed: int = 42) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.split_seed = split_seed
        self.data_train: Dataset[Example] | None = None
        self.data_val: Dataset[Example] | None = None
        self.data_test: Dataset[Example] | None = None

    def load(self) -> tuple[Tensor, Tensor]:
        """Return all inputs and all classes. These are made up: put your own here."""
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(1000, 16, generator=generator)
        return inputs, (inputs[:, 0] > 0).long()

    def setup(self, stage: str | None = None) -> None:
        """Load and split once: 80 % to train, 10 % to validate, 10 % to test."""
        if self.data_train is None:
            generator = torch.Generator().manual_seed(self.split_seed)
            dataset = TensorDataset(*self.load())
            parts = random_split(dataset, [0.8, 0.1, 0.1], generator)
            self.data_train, self.data_val, self.data_test = parts

    def train_dataloader(self) -> DataLoader[Example]:
        """Return the training batches, in a new order each epoch."""
        return self._dataloader(self.data_train, shuffle=True)

    def val_dataloader(self) -> DataLoader[Example]:
        """Return the validation batches, always in the same order."""
        return self._dataloader(self.data_val)

    def test_dataloader(self) -> DataLoader[Example]:
        """Return the test batches, always in the same order."""
        return self._dataloader(self.data_test)

    def _dataloader(
        self, dataset: Dataset[Example] | None, shuffle: bool = False
    ) -> DataLoader[Example]:
        assert dataset is not None, "setup() comes first"
        return DataLoader(
            dataset, batch_size=self.batch_size, shuffle=shuffle, num_workers=self.num_workers
        )
'''

DATA_CONFIG = """# python src/train.py data=NAME
_target_: src.data.NAME_datamodule.CLASSDataModule
batch_size: 64
num_workers: 0
"""

DATA_TEST = '''"""NAME: its sizes, its batches, and a split that no run changes."""

import torch

from src.data.NAME_datamodule import CLASSDataModule


def test_NAME_is_split_alike_in_every_run() -> None:
    validation = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        datamodule = CLASSDataModule(batch_size=8)
        datamodule.prepare_data()
        datamodule.setup()
        validation.append(next(iter(datamodule.val_dataloader())))
    inputs, classes = validation[0]
    assert inputs.shape == (8, 16)
    assert classes.shape == (8,)
    assert torch.equal(inputs, validation[1][0])
    for loader, size in (
        (datamodule.train_dataloader(), 800),
        (datamodule.val_dataloader(), 100),
        (datamodule.test_dataloader(), 100),
    ):
        assert sum(len(classes) for _, classes in loader) == size
'''

NET = '''"""NAME: what it is, and where it comes from."""

from torch import Tensor, nn


class CLASS(nn.Module):
    """Two linear layers.

    Args:
        in_features: values an example.
        width: values between the layers.
        num_classes: number of classes.
    """

    def __init__(self, in_features: int = 16, width: int = 64, num_classes: int = 2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_features, width), nn.ReLU(), nn.Linear(width, num_classes)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs `(B, in_features)` to logits `(B, num_classes)`."""
        return self.layers(inputs)
'''

MODEL_CONFIG = """# python src/train.py model=NAME
defaults:
  - optimizer: adamw
  - scheduler: none
  - _self_

_target_: src.models.lit_module.LitModule
net:
  _target_: src.models.components.NAME.CLASS
  in_features: 16
  width: 64
  num_classes: 2
loss:
  _target_: torch.nn.CrossEntropyLoss
metrics:
  _target_: torchmetrics.MetricCollection
  metrics:
    acc:
      _target_: torchmetrics.classification.MulticlassAccuracy
      num_classes: ${model.net.num_classes}
      average: micro
monitor: val/acc
mode: max
"""

MODEL_TEST = '''"""NAME: it is built from its config, and learns."""

import torch

from src.runtime.instantiate import instantiate
from tests.conftest import Compose


def test_NAME_learns_a_batch_by_heart(composed: Compose) -> None:
    torch.manual_seed(0)
    model = instantiate(composed("model=NAME").model)
    batch = torch.randn(8, 16), torch.arange(8) % 2
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(50):
        loss = model.training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert model(batch[0]).shape == (8, 2)
    assert losses[-1] < 0.1 < losses[0]
'''

EXPERIMENT = """# @package _global_
# What this tries, what came out (figure, machine, number of runs), and how long it takes.
#
#   python src/train.py experiment=NAME
defaults:
  - override /data: << 'mnist' if cookiecutter.starting_point == 'mnist' else 'my_data' >>
  - override /model: << 'mnist' if cookiecutter.starting_point == 'mnist' else 'my_model' >>

tags: [NAME]
seed: 12345

trainer:
  max_epochs: 10
"""

KINDS = {
    "data": {
        "src/data/NAME_datamodule.py": DATAMODULE,
        "configs/data/NAME.yaml": DATA_CONFIG,
        "tests/test_NAME_datamodule.py": DATA_TEST,
    },
    "model": {
        "src/models/components/NAME.py": NET,
        "configs/model/NAME.yaml": MODEL_CONFIG,
        "tests/test_NAME.py": MODEL_TEST,
    },
    "experiment": {"configs/experiment/NAME.yaml": EXPERIMENT},
}

NEXT = {
    "data": "python src/train.py data=NAME model=MODEL",
    "model": "python src/train.py data=DATA model=NAME",
    "experiment": "python src/train.py experiment=NAME",
}
