"""The trainer's settings, as Lightning spells them, and what a run does where a metric is missing."""

from pathlib import Path

import pytest
from lightning.pytorch.utilities.exceptions import MisconfigurationException
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
from src.train import train

__all__ = ["yaml_files"]
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("yaml_files")]

SETTINGS = {
    "no validation": "trainer.limit_val_batches=0",
    "rare validation": "trainer.check_val_every_n_epoch=2",
    "validation by steps": "+trainer.val_check_interval=4 trainer.check_val_every_n_epoch=null",
    "very rare": "+trainer.val_check_interval=30 trainer.check_val_every_n_epoch=null",
    "validation within an epoch": "+trainer.val_check_interval=0.4",
    "validation by time": "+trainer.val_check_interval={seconds:0}",
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
    "an average of the weights": "+callbacks.ema._target_=lightning.pytorch.callbacks.EMAWeightAveraging",
    "no progress bar": "+trainer.enable_progress_bar=false trainer.enable_model_summary=true",
    "CSV": "logger=csv",
    "no last_checkpoint": "callbacks.last_checkpoint=null",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_trains_continues_and_evaluates(name: str, tmp_path: Path) -> None:
    typed = ["monitor=null", *SETTINGS[name].split()]
    _, objects = train(composed("own loaders", tmp_path, *typed))
    steps, epochs = objects["trainer"].global_step, objects["trainer"].current_epoch
    assert steps > 0
    folder = run_folder(tmp_path)
    assert checkpoints(folder)

    kept = [text for text in typed if ".max_" not in text]
    kept += [f"trainer.max_epochs={epochs + 1}", f"ckpt_path='{folder}'"]
    metrics, objects = train(composed("own loaders", tmp_path, *kept))
    assert Watch.first_step == steps
    assert objects["trainer"].global_step > steps
    assert "test_loss" in metrics
    tested, _ = evaluate(evaluation(folder, tmp_path))
    assert tested["test_loss"].item() == pytest.approx(metrics["test_loss"].item(), rel=1e-2)


def test_max_steps_of_a_run_that_continues(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        train(composed("scheduler by epoch", tmp_path, "+trainer.max_steps=8", stop=True))
    typed = ("+trainer.max_steps=8", "trainer.max_epochs=-1", f"ckpt_path='{run_folder(tmp_path)}'")
    _, objects = train(composed("scheduler by epoch", tmp_path, *typed))
    trainer = objects["trainer"]
    assert (Watch.first_step, trainer.global_step) == (3, 8)
    (scheduler,) = trainer.lr_scheduler_configs
    assert scheduler.scheduler.last_epoch == 2  # as many as there were whole epochs


NO_CHECKPOINTS = {
    "fast_dev_run": "+trainer.fast_dev_run=true",
    "fast_dev_run=2": "+trainer.fast_dev_run=2",
    "enable_checkpointing": "+trainer.enable_checkpointing=false",
    "barebones": "+trainer.barebones=true",
    "no epochs": "trainer.max_epochs=0",
    "no batches": "+trainer.limit_train_batches=0",
    "callbacks=none": "callbacks=none",
    "debug": "debug=fast_dev_run",
}


@pytest.mark.parametrize("name", NO_CHECKPOINTS)
def test_without_checkpoints(name: str, tmp_path: Path) -> None:
    metrics, _ = train(composed("own loaders", tmp_path, *NO_CHECKPOINTS[name].split()))
    assert not list(tmp_path.rglob("*.ckpt"))
    assert "test_loss" in metrics or name == "barebones"


@pytest.mark.parametrize(
    ("strategy", "name"),
    [
        ("ddp_fork", "metric collections"),
        ("ddp_notebook", "additions to the checkpoint"),
        pytest.param("ddp_spawn", "ordinary", marks=pytest.mark.slow),
    ],
)
def test_processes_of_this_one(strategy: str, name: str, tmp_path: Path) -> None:
    typed = [f"+trainer.strategy={strategy}", "trainer.devices=2", "logger=csv"]
    metrics, _ = train(composed(name, tmp_path, *typed))
    folder = run_folder(tmp_path)
    assert list(folder.glob("csv/*/metrics.csv"))
    tests = {key for key in metrics if key.startswith("test")}
    tested, _ = evaluate(evaluation(folder, tmp_path))
    assert tests
    assert tests <= set(tested)

    more = ["trainer.max_epochs=3", f"ckpt_path={folder}"]
    train(composed(name, tmp_path, *typed, *more))
    assert checkpoints(folder)[-1]["epoch"] == 3


def test_loaders_of_each_epoch(tmp_path: Path) -> None:
    each = "+trainer.reload_dataloaders_every_n_epochs=1"
    with pytest.raises(Stop):
        train(composed("growing data", tmp_path, each, stop=True))
    _, objects = train(
        composed("growing data", tmp_path, each, f"ckpt_path='{run_folder(tmp_path)}'")
    )
    assert (Watch.first_step, objects["trainer"].global_step) == (2, 5)


def test_searches_before_training(tmp_path: Path) -> None:
    metrics, _ = train(composed("searches before training", tmp_path))
    assert "test_loss" in metrics
    steps = [checkpoint["global_step"] for checkpoint in checkpoints(run_folder(tmp_path))]
    assert steps == [12, 12]  # two epochs of batches of four
    # Lightning's finders search again, and forget where a resumed run was.


# --- a metric that is not there ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "advice"),
    [
        ("monitor=val_los", "Did you mean monitor=val_loss?"),
        ("monitor=val/acc callbacks=[default,early_stopping]", "Logged: val_loss"),
    ],
)
def test_a_wrong_name(
    typed: str, advice: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises((RuntimeError, MisconfigurationException), match="val_loss"):
        train(composed("own loaders", tmp_path, *typed.split()))
    assert advice in caplog.text  # after the sanity check, before the first epoch
    folder = run_folder(tmp_path)
    assert len(checkpoints(folder)) == 1  # nothing is lost
    typed = f"{typed} monitor=val_loss mode=min ckpt_path='{folder}'"
    metrics, objects = train(composed("own loaders", tmp_path, *typed.split()))
    assert objects["trainer"].global_step == 6
    assert "test_loss" in metrics


@pytest.mark.parametrize(
    "typed",
    [
        "trainer.limit_val_batches=0",
        "trainer.check_val_every_n_epoch=3",
        "+trainer.val_check_interval=30 trainer.check_val_every_n_epoch=null",
    ],
)
def test_a_metric_that_never_comes(
    typed: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metrics, _ = train(composed("own loaders", tmp_path, "monitor=val_loss", *typed.split()))
    assert "test_loss" in metrics
    assert checkpoints(run_folder(tmp_path))
    assert ("Type monitor=null" in caplog.text) == ("limit_val" in typed)


def test_early_stopping_without_validation(tmp_path: Path) -> None:
    typed = ("trainer.limit_val_batches=0", "callbacks=[default,early_stopping]")
    with pytest.raises(RuntimeError, match="conditioned on metric `val_loss`"):
        train(composed("own loaders", tmp_path, *typed))
    assert checkpoints(run_folder(tmp_path))
