"""`src/explain.py` names files and sizes, and trains nothing."""

from pathlib import Path

import pytest
from rich.console import Console

from src.explain import explain

BASE = ("data=digits",)


def explained(*arguments: str) -> list[str]:
    """Return the lines that explaining a command prints."""
    console = Console(record=True, width=300)
    explain([*BASE, *arguments], console)
    return console.export_text().splitlines()


def test_values_files_and_sizes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_fit(*args: object, **kwargs: object) -> None:
        raise AssertionError("explaining trains nothing")

    monkeypatch.setattr("lightning.pytorch.Trainer.fit", no_fit)
    arguments = ("data.batch_size=32", "model.optimizer.lr=0.5", "+trainer.max_steps=100")
    lines = explained("model/net=cnn", *arguments)
    rows = [line.replace("│", " ").split() for line in lines]
    assert ["model.net.width", "32", "configs/model/net/cnn.yaml"] in rows
    assert ["data.num_workers", "0", "configs/data/digits.yaml"] in rows
    assert ["model.optimizer.lr", "0.5", "command", "line:", "model.optimizer.lr=0.5"] in rows
    assert ["trainer.accelerator", "auto", "configs/common/config_base.yaml"] in rows
    told = {row[0]: " ".join(row[1:]) for row in rows if row}
    assert told["parameters"] == "94,186, of them 94,186 trained"
    assert told["batch"] == "(32, 1, 28, 28) -> (32, 10)"
    assert told["steps"] == "41 an epoch, 100 at most in 10 epochs"
    assert "weights 0.4, gradients 0.4, optimizer 0.7," in told["memory"]


def test_a_mistake_is_told_before_anything_is_built(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.net\.wdth.*did you mean width"):
        explained("model/net=cnn", "+model.net.wdth=3")
