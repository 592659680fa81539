"""A run that was killed and resumed ends, bit by bit, like the run that was not."""

import contextlib
import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from src.runtime import hydra_versions, instantiate, record
from src.train import train
from tests.conftest import SMALL, Compose
from tests.killing import Killed

RUN = (
    *SMALL,
    "seed=0",
    "trainer.max_epochs=3",
    "data.batch_size=32",  # 8 batches an epoch
    "callbacks.last_checkpoint.every_n_steps=3",
    "++callbacks.noise._target_=tests.killing.Noise",
)
SETTINGS = {
    "plain": (),
    "validation within epochs": ("++trainer.val_check_interval=4",),
    "accumulated gradients": (
        "++trainer.accumulate_grad_batches=2",
        "callbacks.last_checkpoint.every_n_steps=1",
    ),
    "a number of steps": ("trainer.max_epochs=-1", "++trainer.max_steps=20"),
    "a scheduler that counts steps": ("model/scheduler=one_cycle",),
    "a scheduler that watches": ("model.scheduler.patience=0", "model.optimizer.lr=0.05"),
    "workers": ("data.num_workers=1",),
    "early stopping": (
        "trainer.max_epochs=8",
        "callbacks.early_stopping.patience=1",
        "model.optimizer.lr=0.1",
    ),
}
KILLS = [
    ("on_train_batch_end", 2),  # before the first checkpoint
    ("on_train_batch_end", 6),
    ("on_train_batch_end", 14),
    ("on_train_batch_end", 24),
    ("on_validation_batch_end", 1),
    ("on_validation_batch_end", 4),
    ("on_train_epoch_end", 1),
    ("on_train_epoch_end", 3),
    ("on_train_end", 1),
    ("on_test_batch_end", 1),
]
QUICK = [
    ("plain", ("on_train_batch_end", 14)),
    ("plain", ("on_test_batch_end", 1)),
    ("validation within epochs", ("on_validation_batch_end", 4)),
    ("a scheduler that watches", ("on_train_epoch_end", 1)),
]
ALL = [(settings, kill) for settings in SETTINGS for kill in KILLS]


def end_of(run_dir: Path) -> dict[str, Any]:
    """Return all that a run leaves behind, but for its own name and what it was configured to."""
    folder = run_dir / "checkpoints"
    checkpoint = torch.load(folder / "last.ckpt", weights_only=True)
    del checkpoint["config"]
    for state in checkpoint["callbacks"].values():
        state.pop("current_score", None)  # ModelCheckpoint writes it and never reads it
    entry = record.read(run_dir)
    assert entry is not None
    return {
        "last.ckpt": renamed(checkpoint, run_dir),
        "files": sorted(path.name for path in folder.iterdir()),
        **{key: entry[key] for key in ("status", "metrics", "best_checkpoint")},
    }


def renamed(value: Any, run_dir: Path) -> Any:
    """Return nested data with the name of the run's folder taken out of its strings."""
    if isinstance(value, dict):
        return {renamed(k, run_dir): renamed(v, run_dir) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [renamed(v, run_dir) for v in value]
    return value.replace(str(run_dir), "RUN") if isinstance(value, str) else value


def differences(a: Any, b: Any, at: str = "") -> list[str]:
    """Return where two nested structures differ, by as much as a bit."""
    if isinstance(a, dict) and isinstance(b, dict):
        shared = [d for k in a.keys() & b.keys() for d in differences(a[k], b[k], f"{at}.{k}")]
        return shared + [f"{at}.{key} on one side" for key in a.keys() ^ b.keys()]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        pairs = enumerate(zip(a, b, strict=True))
        return [d for i, (x, y) in pairs for d in differences(x, y, f"{at}[{i}]")]
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return [] if torch.equal(a, b) else [f"{at}: tensors"]
    return [] if a == b else [f"{at}: {a} and {b}"]


@pytest.fixture(autouse=True)
def allow_killing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a configuration call what stands in `tests.killing`."""
    allowed = (*instantiate.ALLOWED, "tests.killing.*")
    monkeypatch.setattr(instantiate, "ALLOWED", allowed)
    for key in hydra_versions.INSTANTIATE:
        monkeypatch.setitem(hydra_versions.INSTANTIATE, key, allowed)


@pytest.fixture(scope="module")
def not_killed() -> dict[str, Any]:
    """Return the ends of runs that nobody killed, by their settings; filled as they are needed."""
    return {}


@pytest.mark.parametrize(
    ("settings", "kill"),
    [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in ALL],
)
def test_a_killed_run_ends_like_one_that_was_not(
    composed: Compose,
    tmp_path_factory: pytest.TempPathFactory,
    not_killed: dict[str, Any],
    settings: str,
    kill: tuple[str, int],
) -> None:
    def run(run_dir: Path, *overrides: str) -> None:
        paths = (f"paths.output_dir={run_dir}", f"paths.log_dir={run_dir}")
        train(composed(*RUN, *SETTINGS[settings], *paths, *overrides))

    if settings not in not_killed:
        whole = tmp_path_factory.mktemp("whole")
        run(whole)
        not_killed[settings] = end_of(whole)
    killed = tmp_path_factory.mktemp("killed")
    hook, n = kill
    with contextlib.suppress(Killed):  # a run that stops early may be over before
        run(killed, f"++callbacks.kill={{_target_: tests.killing.KillAt, hook: {hook}, n: {n}}}")
    last = killed / "checkpoints" / "last.ckpt"
    run(killed, f"ckpt_path={last if last.exists() else 'null'}")
    assert differences(not_killed[settings], end_of(killed)) == []


def killed_run(composed: Compose, *overrides: str) -> None:
    """Train, and be killed in the sixth batch."""
    kill = "{_target_: tests.killing.KillAt, hook: on_train_batch_start, n: 6}"
    with pytest.raises(Killed):
        train(composed(*RUN, f"++callbacks.kill={kill}", *overrides))


@pytest.mark.parametrize(("minutes", "written"), [("1e-9", True), ("60", False)])
def test_minutes_between_two_checkpoints(
    composed: Compose, tmp_path: Path, minutes: str, written: bool
) -> None:
    last_checkpoint = "callbacks.last_checkpoint"
    intervals = (f"{last_checkpoint}.every_n_minutes={minutes}",)
    killed_run(composed, f"{last_checkpoint}.every_n_steps=null", *intervals)
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert last.exists() == written
    if written:
        assert torch.load(last, weights_only=True)["global_step"] == 5


def test_the_rows_of_a_csv_file_survive_a_kill(composed: Compose, tmp_path: Path) -> None:
    csv_file = ("common/logger@logger=csv", "++trainer.log_every_n_steps=1")

    def losses(run_dir: Path) -> list[tuple[str, str]]:
        with (run_dir / "csv" / "metrics.csv").open() as file:
            rows = [(row["step"], row["train/loss_step"]) for row in csv.DictReader(file)]
        return [row for row in rows if row[1]]

    train(composed(*RUN, *csv_file, f"paths.output_dir={tmp_path / 'whole'}"))
    killed_run(composed, *csv_file)
    assert len(losses(tmp_path)) == 5
    with (tmp_path / "csv" / "metrics.csv").open("a") as file:
        file.write("0.5,7")  # half a row
    train(composed(*RUN, *csv_file, f"ckpt_path={tmp_path / 'checkpoints' / 'last.ckpt'}"))
    assert losses(tmp_path) == losses(tmp_path / "whole")
