"""What Lightning accepts runs here unchanged: it trains, is stopped, resumes, and is evaluated.

Each case is a LightningModule and a DataModule that know nothing of the template, with one YAML
file each. Nothing else is configured, except `monitor` and `mode`.
"""

from pathlib import Path

import pytest
from lightning_cases import (
    CASES,
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
OTHERWISE_TRIED = {"growing data", "searches before training"}  # in test_lightning_trainers.py
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("yaml_files")]


@pytest.mark.parametrize("name", [n for n in CASES if n not in OTHERWISE_TRIED])
def test_trains_resumes_and_evaluates(name: str, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        train(composed(name, tmp_path, stop=True))
    folder = run_folder(tmp_path)
    assert (folder / "checkpoints" / "last.ckpt").exists()

    metrics, objects = train(composed(name, tmp_path, f"ckpt_path='{folder}'"))
    trainer = objects["trainer"]
    assert trainer.current_epoch == 2
    assert trainer.global_step == 2 * (Watch.first_step or 0) > 0
    assert all("run_config" in checkpoint for checkpoint in checkpoints(folder))
    expected = {key: value.item() for key, value in metrics.items() if key.startswith("test")}
    assert bool(expected) == CASES[name].has_test
    if expected:
        tested, _ = evaluate(evaluation(folder, tmp_path))
        found = {key: value.item() for key, value in tested.items()}
        assert found == pytest.approx(expected, nan_ok=True)
