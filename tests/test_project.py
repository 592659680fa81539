"""The baked default project does what its README says, in an environment of its own."""

import re
from pathlib import Path

import pytest

from tests.conftest import FULL, Project, prepared

SMALL = "data=digits trainer.max_epochs=1 trainer.min_epochs=1"


def test_lint_format_and_types(project: Project) -> None:
    project.run("make check")
    project.run("git diff --exit-code")  # checking changes nothing


def take_next_steps(project: Project) -> str:
    """Do what is printed after baking, evaluate the best checkpoint; return what training said."""
    train, tests = project.next_steps
    trained = project.run(train).stdout
    best = re.search(r"best checkpoint\s+(\S+)", trained)
    assert best
    evaluated = project.run(f"uv run python src/eval.py ckpt_path={best[1]}").stdout
    row = re.compile(r"test/loss\s*│\s*(\S+)")
    assert row.findall(evaluated)[-1] == row.findall(trained)[-1]
    assert "[INFO] - Loaded model weights" in evaluated  # Lightning's lines are as all others
    assert "Tip: " not in trained + evaluated  # to buy its makers' other products
    result = project.run(tests)
    assert re.search(r"\d+ passed", result.stdout)
    assert "failed" not in result.stdout
    return trained


def test_the_next_steps_as_printed_then_eval(project: Project) -> None:
    assert re.search(r"open tracker\s+mlflow ui", take_next_steps(project))


def test_the_bare_project_is_green_from_the_first_minute(bare_project: Project) -> None:
    bare_project.run("make check")
    take_next_steps(bare_project)


@pytest.mark.skipif(not FULL, reason="FULL=1 makes an environment for each")
@pytest.mark.parametrize(
    "answers",
    [
        {"default_logger": "tensorboard", "ci_provider": "gitlab", "license": "Apache-2.0"},
        {"default_logger": "csv", "ci_provider": "none", "license": "Proprietary"},
        {"default_logger": "many_loggers", "license": "GPL-3.0"},
        {"default_logger": "none", "license": "BSD-3-Clause"},
        {"default_logger": "none", "ci_provider": "none", "starting_point": "bare"},
        {"default_logger": "tensorboard", "ci_provider": "gitlab", "starting_point": "bare"},
        {"default_logger": "csv", "starting_point": "bare"},
    ],
    ids=lambda answers: "-".join(answers.values()),
)
def test_answers_in_combination(tmp_path: Path, answers: dict[str, str]) -> None:
    project = prepared(tmp_path, **answers)
    project.run("make check")
    take_next_steps(project)


def test_what_the_generator_writes_fits_the_bare_project(bare_project: Project) -> None:
    parts = (f"uv run python src/new.py {kind} mine" for kind in ("data", "model", "experiment"))
    bare_project.run(" && ".join(parts))
    bare_project.run("uv run ty check && uv run python src/check.py && uv run pytest -n auto")
    bare_project.run("git clean --force --quiet src configs tests")


def test_loggers_are_swapped_in_a_word(project: Project) -> None:
    for logger, written in [
        ("csv", "csv/metrics.csv"),
        ("tensorboard", "tensorboard/events.out.tfevents.*"),
        ("none", "train.log"),
    ]:
        command = f"uv run python src/train.py {SMALL} common/logger@logger={logger}"
        run = re.search(r"run directory\s+(\S+)", project.run(command).stdout)
        assert run
        assert project.run(f"ls {run[1]}/{written}").stdout


def test_a_few_faults_lose_nothing(project: Project) -> None:
    campaign = "uv run python -m tests.faults --kills 5 --corruptions 3"  # `make faults`, shorter
    assert "\n0 failures" in project.run(campaign).stdout


def test_pip_installs_it_as_well(project: Project) -> None:
    what = "-e . --group dev" if FULL else "--dry-run --no-deps -e ."
    project.run(f"uv venv --quiet --seed .pip && .pip/bin/python -m pip install --quiet {what}")
    if FULL:
        told = project.run(".pip/bin/python src/train.py --help").stdout
        assert "experiment=mon_experience" in told
    project.run("rm -r .pip")


def test_what_the_generator_writes_is_green_at_once(project: Project) -> None:
    project.run(
        "uv run python src/new.py data my_data && uv run python src/new.py model my_model"
        " && uv run python src/new.py experiment my_experiment"
    )
    project.run("make check")
    experiment = "tests/test_train.py::test_every_experiment_runs[my_experiment]"
    tests = f"tests/test_my_data_datamodule.py tests/test_my_model.py {experiment}"
    assert "3 passed" in project.run(f"uv run pytest {tests}").stdout
    settings = "data=my_data model=my_model trainer.accelerator=cpu common/logger@logger=none"
    trained = project.run(f"uv run python src/train.py {settings}").stdout
    accuracy = re.search(r"│ test/acc\s+│ (\S+)", trained)
    assert accuracy
    assert float(accuracy[1]) > 0.8
    project.run("git clean --force --quiet src configs tests")
