"""A project laid out like ashleve/lightning-hydra-template moves by the commands of its guide."""

from pathlib import Path

import pytest

from tests.conftest import TEMPLATE, Bake, run_in_environment
from tests.documents import commands, shown_files

OLD = TEMPLATE / "tests" / "other_template"
GUIDE = "docs/coming-from-other-templates.md"
# What people type from habit, and what the answer has to name.
HABITS = {
    "hparams_search=wine_optuna": "search=NAME",
    "debug=fdr": "fast_dev_run",
    "trainer=default": "Choices: cpu",
    "extras.print_config=false": "--cfg job",
    "paths=default": "--cfg job",
    "hydra=default": "--cfg job",
    "logger=aim": "Choices: csv",
}


@pytest.mark.environment
def test_a_project_moves_by_the_commands_of_the_guide(bake: Bake) -> None:
    folder = bake(starting_point="bare")
    for line in commands(folder / GUIDE):
        run_in_environment(folder, line, OLD=str(OLD))
    trained = next(folder.glob("logs/train/runs/*/csv/version_0/metrics.csv"))
    assert "val/acc_best" in trained.read_text("utf-8")
    assert list(trained.parents[2].glob("checkpoints/epoch_*.ckpt"))
    for path, text in shown_files(folder / GUIDE).items():
        Path(folder, path).write_text(text, "utf-8")
    found = run_in_environment(
        folder,
        "python src/train.py -m search=lr_optuna experiment=example logger=none monitor=val/acc "
        "trainer=cpu trainer.min_epochs=1 trainer.max_epochs=1 hydra.sweeper.n_trials=2",
    )
    assert "Best trial" in found


@pytest.mark.environment
@pytest.mark.parametrize("typed", HABITS)
def test_old_habits_are_answered(typed: str, bake: Bake) -> None:
    refused = f"! python src/train.py {typed} 2> answer.txt"
    folder = bake(starting_point="bare")
    run_in_environment(folder, refused)
    answer = (folder / "answer.txt").read_text("utf-8")
    assert HABITS[typed] in answer
    assert len(answer.splitlines()) <= 2
