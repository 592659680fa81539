"""The shipped experiment: one run, and one that is stopped and resumed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from src.eval import evaluate
from src.train import train
from tests.conftest import Compose
from tests.small_run import OVERRIDES

RUN = ("experiment=mon_experience", *OVERRIDES)


class StopRun(Callback):
    """Raise an error in the middle of the second epoch."""

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop."""
        if trainer.current_epoch == 1 and batch_idx == 2:
            raise RuntimeError("stopped")


def test_a_run_trains_tests_and_is_evaluated_again(composed: Compose, tmp_path: Path) -> None:
    metrics, _ = train(composed(*RUN))
    tested = {name: value for name, value in metrics.items() if name.startswith("test")}
    assert tested
    assert all(torch.isfinite(value) for value in metrics.values())
    (best,) = (tmp_path / "run/checkpoints").glob("epoch_*.ckpt")
    limit = "+trainer.limit_test_batches=2"
    again, _ = evaluate(
        composed(
            f"ckpt_path={best}", limit, f"paths.output_dir={tmp_path}/eval", config_name="eval"
        )
    )
    assert {name: again[name] for name in tested} == tested


def test_a_resumed_run_ends_as_if_it_had_not_stopped(composed: Compose, tmp_path: Path) -> None:
    _, whole = train(composed(*RUN))
    folder = f"paths.output_dir={tmp_path}/stopped"
    every_step = "callbacks.last_checkpoint.every_n_minutes=0"
    stop = "+callbacks.stop={_target_: tests.test_run.StopRun}"
    with pytest.raises(RuntimeError, match="stopped"):
        train(composed(*RUN, folder, every_step, stop))
    _, resumed = train(composed(*RUN, folder, f"ckpt_path={tmp_path}/stopped"))
    assert resumed["trainer"].global_step == whole["trainer"].global_step
    if hasattr(whole["trainer"].train_dataloader, "load_state_dict"):  # see docs/resume.md
        weights = resumed["model"].state_dict()
        for name, value in whole["model"].state_dict().items():
            assert torch.equal(weights[name], value), name
