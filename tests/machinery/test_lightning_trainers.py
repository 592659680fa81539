"""The trainer's settings, as Lightning spells them, and what a run does where a metric is missing."""

import logging
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelSummary
from lightning_cases import (
    Stop,
    Watch,
    checkpoints,
    composed,
    evaluation,
    run_folder,
    yaml_files,
)

from src.eval import evaluate
from src.runtime.project import ConfigError
from src.train import train

__all__ = ["yaml_files"]
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("yaml_files")]

SETTINGS = {
    "no validation": "trainer.limit_val_batches=0",
    "rare validation": "trainer.check_val_every_n_epoch=2",
    "validation by steps": "+trainer.val_check_interval=4 trainer.check_val_every_n_epoch=null",
    "very rare": "+trainer.val_check_interval=30 trainer.check_val_every_n_epoch=null",
    "validation within an epoch": "+trainer.val_check_interval=0.4",
    "max_steps": "+trainer.max_steps=4",
    "max_steps without epochs": "+trainer.max_steps=4 trainer.max_epochs=-1",
    "max_time": "+trainer.max_time={seconds:1} trainer.max_epochs=-1",
    "overfit_batches": "+trainer.overfit_batches=1",
    "a share to overfit": "+trainer.overfit_batches=0.5",
    "limits": "+trainer.limit_train_batches=2 +trainer.limit_val_batches=1",
    "accumulation": "+trainer.accumulate_grad_batches=2",
    "gradient clipping": "+trainer.gradient_clip_val=0.5 +trainer.gradient_clip_algorithm=value",
    "mixed precision": "+trainer.precision=bf16-mixed",
    "true precision": "+trainer.precision=bf16-true",
    "double precision": "+trainer.precision=64",
    "no sanity check": "+trainer.num_sanity_val_steps=0",
    "a whole sanity check": "+trainer.num_sanity_val_steps=-1",
    "a simple profiler": "+trainer.profiler=simple",
    "an advanced profiler": "+trainer.profiler=advanced",
    "logged each step": "+trainer.log_every_n_steps=1 +trainer.detect_anomaly=true",
    "gradients in validation": "+trainer.inference_mode=false +trainer.deterministic=true",
    "asynchronous checkpoints": (
        "+trainer.plugins=[{_target_:lightning.pytorch.plugins.io.AsyncCheckpointIO}]"
    ),
    "an average of the weights": "callbacks=[default,ema]",
    "no progress bar": "+trainer.enable_progress_bar=false +trainer.enable_model_summary=true",
    "CSV": "logger=csv",
    "no last_checkpoint": "callbacks.last_checkpoint=null",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_trains_continues_and_evaluates(name: str, tmp_path: Path) -> None:
    typed = SETTINGS[name].split()
    _, objects = train(composed("own loaders", tmp_path, "monitor=null", *typed))
    assert objects["trainer"].global_step > 0
    folder = run_folder(tmp_path)
    assert checkpoints(folder)
    steps = objects["trainer"].global_step

    more = ["trainer.max_epochs=3", "+trainer.max_steps=8"]
    typed = [text for text in typed if "max_steps" not in text and "max_epochs" not in text]
    cfg = composed("own loaders", tmp_path, "monitor=null", *typed, *more, f"ckpt_path='{folder}'")
    metrics, objects = train(cfg)
    assert Watch.first_step == steps
    assert objects["trainer"].global_step > steps
    assert "test_loss" in metrics
    tested, _ = evaluate(evaluation(folder, tmp_path))
    assert "test_loss" in tested
