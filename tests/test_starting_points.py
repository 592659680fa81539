"""Each starting point trains its example, passes its own checks, and can be added to another."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import ENVIRONMENT, STARTING_POINTS, Bake, files, run, run_in_environment

pytestmark = pytest.mark.environment
# After a few epochs, what is clearly better than guessing: starting point -> epochs, metric, bound.
SHORT_TRAININGS = {
    "images": (2, "test/acc", 0.5),
    "tabular": (10, "test/r2", 0.1),
    "text": (1, "test/acc", 0.35),
    "bare": (10, "test/acc", 0.6),
}
QUICK = "trainer.accelerator=cpu logger=csv trainer.max_epochs"


def install_dependencies(folder: Path) -> None:
    """Add what a bake depends on to the environment that the bakes share."""
    run(folder, f"uv pip install --quiet --python {ENVIRONMENT} --requirements pyproject.toml")


def train(folder: Path, overrides: str) -> dict[str, float]:
    """Train, and return the metrics of the run."""
    run_in_environment(folder, f"python src/train.py {overrides}")
    newest = max(folder.glob("logs/train/runs/*/run.json"), key=lambda path: path.stat().st_mtime)
    record = json.loads(newest.read_text("utf-8"))
    assert record["status"] == "finished"
    return record["metrics"]


@pytest.mark.parametrize("starting_point", SHORT_TRAININGS)  # mnist is demo/
def test_the_example_trains_and_the_code_is_clean(bake: Bake, starting_point: str) -> None:
    folder = bake(starting_point=starting_point)
    install_dependencies(folder)
    run_in_environment(folder, "make check")
    debugged = json.loads((folder / ".vscode/launch.json").read_text("utf-8"))["configurations"][0]
    run_in_environment(folder, f"python src/train.py {' '.join(debugged['args'])} --cfg job")
    epochs, metric, bound = SHORT_TRAININGS[starting_point]
    assert train(folder, f"experiment=mon_experience {QUICK}={epochs}")[metric] > bound


@pytest.mark.slow
@pytest.mark.parametrize("starting_point", STARTING_POINTS)
def test_the_example_reaches_its_figure_and_the_tests_pass(bake: Bake, starting_point: str) -> None:
    folder = bake(starting_point=starting_point)
    install_dependencies(folder)
    metrics = train(folder, "experiment=mon_experience")
    if starting_point == "bare":
        assert metrics["test/acc"] > 0.9
    run_in_environment(folder, "make test RUN=")


@pytest.mark.slow
@pytest.mark.parametrize("added", ["images", "tabular", "text", "bare"])
def test_another_starting_point_is_added_by_copying_its_files(
    bakes: dict[str, Path], bake: Bake, added: str
) -> None:
    folder = bake()
    install_dependencies(bakes[added])
    for path in files(bakes[added]) - files(folder):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(bakes[added] / path, folder / path)
    experiment = folder / "configs/experiment/mine.yaml"
    shutil.copy(bakes[added] / "configs/experiment/mon_experience.yaml", experiment)
    train(folder, f"experiment=mine {QUICK}=1")
