"""Your data and your model, trained by a composed configuration."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate

from src.eval import evaluate
from src.runtime.identity import PROJECT_ROOT
from src.train import train
from tests.conftest import Compose

EXPERIMENTS = sorted(path.stem for path in (PROJECT_ROOT / "configs/experiment").glob("*.yaml"))


def test_batches_are_what_the_model_takes(composed: Compose) -> None:
    datamodule = instantiate(composed("data.batch_size=32").data)
    datamodule.prepare_data()
    datamodule.setup()
    inputs, labels = next(iter(datamodule.train_dataloader()))
    assert inputs.shape == (32, 16)
    assert inputs.dtype == torch.float32
    assert labels.shape == (32,)
    assert labels.dtype == torch.int64


def test_training_learns_and_eval_repeats_its_test_to_the_last_digit(
    composed: Compose, tmp_path: Path
) -> None:
    metrics, _ = train(composed("seed=0", "model.optimizer.lr=0.05", "trainer.max_epochs=8"))
    assert metrics["test/acc"] > 0.9
    (best,) = (tmp_path / "checkpoints").glob("epoch_*.ckpt")
    again, _ = evaluate(composed(f"ckpt_path={best}", config_name="eval"))
    assert again["test/loss"] == metrics["test/loss"]
    assert again["test/acc"] == metrics["test/acc"]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_runs(composed: Compose, experiment: str) -> None:
    metrics, _ = train(composed(f"experiment={experiment}", "+trainer.fast_dev_run=true"))
    assert metrics
    assert all(torch.isfinite(value) for value in metrics.values())
