"""The model for tables: numbers in the target's unit, and classes."""

from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything

from src.data.tabular_datamodule import TabularDataModule
from src.models.components.mlp import MLP
from src.models.components.tabular_objectives import loss_for_task, metrics_for_task
from src.models.lit_module import LitModule


def test_outputs_have_the_shape_and_unit_of_the_targets() -> None:
    features = torch.randn(500, 7)
    numbers = MLP(7, target_mean=1000.0, target_std=50.0)(features)
    assert numbers.shape == (500,)
    assert numbers.mean().item() == pytest.approx(1000, abs=50)
    assert MLP(7, num_outputs=3)(features).shape == (500, 3)


def test_the_loss_does_not_depend_on_the_unit() -> None:
    predictions, targets = torch.randn(2, 20)
    loss = loss_for_task("regression", 1.0)(predictions, targets)
    scaled = loss_for_task("regression", 100.0)(100 * predictions, 100 * targets)
    assert scaled.item() == pytest.approx(loss.item())


@pytest.mark.parametrize(
    ("target", "metric", "at_least"), [("progression", "r2", 0.3), ("sex", "acc", 0.6)]
)
def test_it_learns(target: str, metric: str, at_least: float) -> None:
    seed_everything(0)
    data = TabularDataModule("diabetes", target)
    model = LitModule(
        net=MLP(data.num_features, data.num_outputs, data.target_mean, data.target_std),
        loss=loss_for_task(data.task, data.target_std),
        metrics=metrics_for_task(data.task, data.num_outputs),
        optimizer=partial(torch.optim.AdamW, lr=0.003),
    )
    trainer = Trainer(
        max_epochs=10,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data)
    assert trainer.callback_metrics[f"val/{metric}"] > at_least
