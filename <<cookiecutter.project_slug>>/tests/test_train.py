"""Training, from a composed configuration and from the command line."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from src.eval import evaluate
from src.runtime.identity import PROJECT_ROOT
from src.train import train
from tests.conftest import SMALL, Compose

# What makes the data of an experiment small, where it has such a key.
SMALL_DATA = {"val_size": 64, "dataset.per_package": 50}
EXPERIMENTS = sorted(path.stem for path in (PROJECT_ROOT / "configs/experiment").glob("*.yaml"))


def test_training_learns_and_eval_repeats_its_test_to_the_last_digit(
    composed: Compose, tmp_path: Path
) -> None:
    settings = ("seed=0", "trainer.max_epochs=8", "data.batch_size=16")
    metrics, _ = train(composed(*SMALL, *settings))
    assert metrics["test/acc"] > 0.9
    (best,) = (tmp_path / "checkpoints").glob("epoch_*.ckpt")
    again, _ = evaluate(composed(f"ckpt_path={best}", config_name="eval"))
    assert again["test/loss"] == metrics["test/loss"]
    assert again["test/acc"] == metrics["test/acc"]


def test_seed_zero_is_a_seed(composed: Compose) -> None:
    losses = [train(composed(*SMALL, "seed=0", "test=false"))[0]["train/loss"] for _ in range(2)]
    assert losses[0] == losses[1]


def test_resume_goes_on_from_the_last_checkpoint(composed: Compose, tmp_path: Path) -> None:
    train(composed(*SMALL, "test=false"))
    last = tmp_path / "checkpoints" / "last.ckpt"
    step = torch.load(last, weights_only=True)["global_step"]
    _, objects = train(composed(*SMALL, "test=false", "trainer.max_epochs=2", f"ckpt_path={last}"))
    assert objects["trainer"].current_epoch == 2
    assert objects["trainer"].global_step == 2 * step


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_runs(composed: Compose, experiment: str) -> None:
    cfg = composed(
        f"experiment={experiment}", "common/logger@logger=csv", "+trainer.fast_dev_run=true"
    )
    for key, size in SMALL_DATA.items():
        if OmegaConf.select(cfg.data, key):
            OmegaConf.update(cfg.data, key, size)
    metrics, _ = train(cfg)
    assert metrics
    assert all(torch.isfinite(value) for value in metrics.values())
