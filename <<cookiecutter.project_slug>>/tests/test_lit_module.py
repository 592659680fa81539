"""LitModule: each optimizer, scheduler, precision and clipping."""

from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from src.models.lit_module import LitModule
from src.runtime.project import CONFIGS, instantiate
from tests.conftest import quiet_trainer

CLIPS: list[dict[str, Any]] = [
    {},
    {"gradient_clip_val": 0.5},
    {"gradient_clip_val": 0.5, "gradient_clip_algorithm": "value"},
]


def batches() -> DataLoader[Any]:
    """Return six batches of random inputs `(4, 3)` and targets `(4, 1)`."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(24, 3, generator=generator)
    targets = inputs.sum(dim=1, keepdim=True)
    return DataLoader(TensorDataset(inputs, targets), batch_size=4)


def linear_model(optimizer: str = "adam", scheduler: str = "none", lr: float = 0.01) -> LitModule:
    """Return a linear model with an optimizer and a scheduler of `configs/model`."""
    cfg: Any = OmegaConf.create()
    cfg.model = OmegaConf.load(CONFIGS / f"model/scheduler/{scheduler}.yaml")
    cfg.model.optimizer = OmegaConf.load(CONFIGS / f"model/optimizer/{optimizer}.yaml")
    cfg.model.optimizer.lr = lr
    make_optimizer = instantiate(cfg.model.optimizer)
    make_scheduler = cfg.model.scheduler and instantiate(cfg.model.scheduler)
    interval = cfg.model.get("lr_interval", "epoch")
    return LitModule(nn.Linear(3, 1), nn.MSELoss(), None, make_optimizer, make_scheduler, interval)


@pytest.mark.parametrize("clip", CLIPS, ids=["no clip", "norm", "value"])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_each_optimizer_trains_in_each_precision_with_and_without_clipping(
    optimizer: str, precision: Any, clip: dict[str, Any]
) -> None:
    model = linear_model(optimizer)
    before = model.net.weight.detach().clone()
    quiet_trainer(precision=precision, **clip).fit(model, batches())
    assert not torch.equal(model.net.weight, before)


@pytest.mark.parametrize("length", [{"max_epochs": 2}, {"max_epochs": -1, "max_steps": 12}])
@pytest.mark.parametrize("scheduler", ["cosine", "one_cycle"])
def test_a_schedule_ends_with_the_run(scheduler: str, length: dict[str, int]) -> None:
    model = linear_model(scheduler=scheduler, lr=0.001)
    trainer = quiet_trainer(**length)
    trainer.fit(model, batches())
    assert trainer.global_step == 12
    assert trainer.optimizers[0].param_groups[0]["lr"] < 1e-4  # of 1e-3
