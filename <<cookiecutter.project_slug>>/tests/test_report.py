"""The report: seeds share a row, commands do a run again, and it answers without torch."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

from src.runtime import record
from src.runtime.identity import PROJECT_ROOT
from src.runtime.sweep import report, results


def write_run(folder: Path, lr: float, seed: int, acc: float | None) -> None:
    """Write what a run of `src/train.py` leaves for the report."""
    (folder / ".hydra").mkdir(parents=True)
    config = {
        "seed": seed,
        "model": {"optimizer": {"lr": lr}, "monitor": "val/acc"},
        "callbacks": {
            "best": {
                "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
                "monitor": "${model.monitor}",
                "mode": "max",
            }
        },
        "paths": {"log_dir": str(folder)},
    }
    (folder / ".hydra" / "config.yaml").write_text(json.dumps(config))
    state = {
        "task": "train",
        "status": "failed" if acc is None else "finished",
        "overrides": [f"model.optimizer.lr={lr}", f"seed={seed}", "tags=[a b]", "sweep_name=s"],
        "metrics": {} if acc is None else {"val/acc": acc, "test/loss": 1 - acc},
        "best_checkpoint": "checkpoints/epoch_003.ckpt",
        "error": None,
    }
    record.write(folder, state)


def write_sweep(folder: Path) -> None:
    """Write a sweep over two learning rates and three seeds, with one failure."""
    accs = {0.1: (0.5, 0.7, None), 0.01: (0.8, 0.9, 0.94)}
    runs = [(lr, seed, acc) for lr, row in accs.items() for seed, acc in enumerate(row)]
    for number, (lr, seed, acc) in enumerate(runs):
        write_run(folder / str(number), lr, seed, acc)


def test_seeds_share_a_row_and_the_best_is_first(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    runs = list(results.read_all(tmp_path))
    metric, mode = report.criterion(runs, None, None)
    assert (metric, mode) == ("val/acc", "max")
    keys = results.varied(runs)
    assert keys == ["model.optimizer.lr"]
    best, worst = report.rows(results.grouped(runs, metric, mode), keys, metric, mode)
    assert best["model.optimizer.lr"] == "0.01"
    assert best["val/acc"] == "0.88 ± 0.072"
    assert best["runs"] == "3/3"
    assert best["best checkpoint"] == str(tmp_path / "5" / "checkpoints" / "epoch_003.ckpt")
    assert best["command"] == ("python src/train.py model.optimizer.lr=0.01 seed=2 'tags=[a b]'")
    assert worst["val/acc"] == "0.6 ± 0.14"
    assert worst["runs"] == "2/3"
    assert worst["not finished"] == "failed"


def test_a_loss_is_better_when_it_is_smaller(tmp_path: Path) -> None:
    write_sweep(tmp_path)
    runs = list(results.read_all(tmp_path))
    assert report.criterion(runs, "test/loss", None) == ("test/loss", "min")
    first, _ = results.grouped(runs, "test/loss", "min")
    assert first.results[0].value("model.optimizer.lr") == "0.01"


def test_edited_files_tell_runs_apart_that_were_typed_alike(tmp_path: Path) -> None:
    for number in range(2):
        write_run(tmp_path / str(number), 0.1, seed=0, acc=0.5)
    path = tmp_path / "1" / ".hydra" / "config.yaml"
    path.write_text(path.read_text().replace('"seed"', '"width": 64, "seed"'))
    runs = list(results.read_all(tmp_path))
    assert results.varied(runs) == ["width"]
    assert len(results.grouped(runs, "val/acc", "max")) == 2


def test_the_command_writes_its_files_without_torch(tmp_path: Path) -> None:
    write_sweep(tmp_path / "train" / "multiruns" / "lr_grid")
    command = [sys.executable, "-X", "importtime", "src/report.py", f"paths.log_dir={tmp_path}"]
    result = subprocess.run(
        [*command, "sweep=lr_grid"], cwd=PROJECT_ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "0.88 ± 0.072" in result.stdout
    assert not re.search(r"\| +(torch|lightning|pandas)\b", result.stderr)
    (folder,) = (tmp_path / "report" / "runs").iterdir()
    rows = list(csv.DictReader((folder / "report.csv").open()))
    assert [row["runs"] for row in rows] == ["3", "2"]
    assert float(rows[0]["val/acc mean"]) == 0.88
    assert len(list(csv.DictReader((folder / "runs.csv").open()))) == 6
    assert (folder / "report.png").read_bytes()[:4] == b"\x89PNG"
    lost = subprocess.run([*command, "sweep=x"], cwd=PROJECT_ROOT, capture_output=True, text=True)
    assert lost.returncode == 1
    assert "There is sweep=lr_grid" in lost.stderr
