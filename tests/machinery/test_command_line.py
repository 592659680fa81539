"""The command line of the verbs: what it accepts, what it answers without torch, and its errors."""

import os
import pickle
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, Compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from src import train
from src.runtime import overrides
from src.runtime.command_line import CheckedTask, compose, error_text, state
from src.runtime.project import ConfigError
from src.runtime.sweeps import optimized_value

# Runs a command, then prints which heavy packages it has imported.
WITNESS = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as stopped:
    print(stopped, file=sys.stderr)
heavy = {"torch", "lightning", "mlflow", "optuna", "pandas", "matplotlib"}
print("IMPORTED", *sorted(heavy & set(sys.modules)), file=sys.stderr)
"""
ANSWERS = {
    "train --help": "model/net=",
    "train --cfg job": "max_epochs: 10",
    "train data=nope": "there is no such file",
    "train optimizer.lr=0.1": "Did you mean model.optimizer.lr=0.1?",
    "train mode=maximum": "mode=maximum is unknown",
    "eval ckpt_path=nope.ckpt": "nope.ckpt",
}


@pytest.mark.parametrize("line", ANSWERS)
def test_torch_is_not_imported_to_answer(project: Path, tmp_path: Path, line: str) -> None:
    verb, *arguments = line.split()
    command = [sys.executable, "-c", WITNESS, f"{project}/src/{verb}.py", *arguments]
    command.append(f"paths.log_dir={tmp_path}")
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ANSWERS[line] in process.stdout + process.stderr
    assert process.stderr.splitlines()[-1] == "IMPORTED"


@pytest.mark.slow
def test_answers_come_soon(project: Path) -> None:
    commands = {
        "hydra": ["-c", "import hydra"],
        "help": ["src/train.py", "--help"],
        "cfg": ["src/train.py", "--cfg", "job"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(7):
        for name, arguments in commands.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], cwd=project, capture_output=True)
            seconds[name].append(time.perf_counter() - start)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    assert median["help"] < 2.5 * median["hydra"]
    assert median["cfg"] < 4 * median["hydra"]


@pytest.mark.parametrize("verb", ["train", "eval", "predict", "export", "report"])
def test_help_shows_the_commands_and_the_choices_of_this_project(
    command: Command, project: Path, verb: str
) -> None:
    answer = command("--help", verb=verb)
    assert f"python src/{verb}.py" in answer.out
    assert "common/logger@logger" not in answer.out
    if verb == "train":
        for path in (project / "configs/data").glob("*.yaml"):
            assert path.stem in answer.out


def test_every_command_of_the_help_of_train_is_accepted(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "train", lambda cfg: ({}, None))
    for line in command("--help").out.splitlines():
        arguments = line.partition("#")[0].split()
        if arguments[:2] == ["python", "src/train.py"] and "PATH" not in line:
            given = [argument for argument in arguments[2:] if argument != "ckpt_path=last"]
            assert command(*given).code == 0, line


def test_overrides_are_expanded_and_checked() -> None:
    typed = ["-m", "logger=csv,none", "+debug=limit", "logger.csv.x=1", "~search", "seed=1"]
    assert overrides.expand_and_check_overrides(typed) == [
        "common/logger@logger=csv,none",
        "+common/debug=limit",
        "logger.csv.x=1",
        "~common/search",
        "seed=1",
        "-m",
    ]
    typed = ["--cfg", "job", "data=glob(*)", "hydra/launcher=basic", "model/net=[cnn]"]
    assert overrides.expand_and_check_overrides(typed) == [*typed[2:], *typed[:2]]


def test_an_experiment_in_a_folder_is_a_choice_like_others(configs: Path, command: Command) -> None:
    (configs / "experiment/team").mkdir()
    (configs / "experiment/team/exp1.yaml").write_text("# @package _global_\nseed: 7\n")
    assert "team/exp1" in overrides.choices_by_group()["experiment"]
    assert "experiment/team" not in overrides.choices_by_group()
    assert compose("train", "experiment=team/exp1").seed == 7
    assert "team/exp1" in command("--help").out
    assert "Did you mean experiment=team/exp1?" in command("experiment=team/exp2").err


def test_parts_of_a_model_are_found_by_their_last_name(configs: Path, command: Command) -> None:
    (configs / "model/backbone").mkdir()
    (configs / "model/backbone/huggingface.yaml").write_text("a: 1\n")
    (configs / "model/mine.yaml").write_text("defaults:\n  - backbone: huggingface\n")
    error = command("backbone=huggingface").err
    assert "Did you mean model/backbone=huggingface?" in error
    error = command("backbone=other").err
    assert "Did you mean model/backbone=NAME, one of huggingface?" in error


def test_compose_works_again_and_again_without_hydra(compose_train: Compose) -> None:
    first, second = compose_train("logger=csv", "seed=1"), compose_train("logger=null")
    assert (list(first.logger), list(second.logger)) == (["csv"], [])
    assert "hydra" not in first
    assert not HydraConfig.initialized()
    with pytest.raises(ConfigError, match="Did you mean logger=csv"):
        compose("train", "logger=cvs")


def test_the_metric_to_optimize_is_a_number_a_tuple_or_none() -> None:
    metrics = {"val/acc": 0.5, "val/loss": 1.0}
    expected = {None: None, "val/acc": 0.5, "val/acc, val/loss": (0.5, 1.0)}
    for names, value in expected.items():
        cfg = OmegaConf.create({"optimized_metric": names})
        assert optimized_value(cfg, metrics) == value


class Failing:
    """A training that raises; `after_batches` of it have passed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.errors: list[BaseException] = []
        self.after_batches = False
        self.full_error: list[str | None] = []
        monkeypatch.setattr(train, "train", self)

    def __call__(self, cfg: Any) -> Any:
        state.training_started = self.after_batches
        self.full_error.append(os.environ.get("HYDRA_FULL_ERROR"))
        if self.errors:
            raise self.errors.pop(0)
        return {}, None


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Failing:
    return Failing(monkeypatch)


@pytest.fixture
def small(compose_train: Compose) -> list[str]:
    return ["data=digits", "logger=none", "callbacks=none"]


def test_a_mistake_before_the_first_batch_is_one_line(
    command: Command, failing: Failing, small: list[str]
) -> None:
    for error in (ValueError("no"), RuntimeError("no"), FileNotFoundError(2, "no", "x.csv")):
        failing.errors = [error]
        answer = command(*small)
        assert (answer.code, len(answer.err.splitlines())) == (1, 1)
    assert "no: 'x.csv'" in answer.err


def test_a_bug_and_an_error_after_a_batch_keep_their_traceback(
    command: Command, failing: Failing, small: list[str]
) -> None:
    for error in (AttributeError("no"), KeyError("no"), TypeError("no")):
        failing.errors = [error]
        with pytest.raises(type(error)):
            command(*small)
    failing.after_batches = True
    failing.errors = [ValueError("no")]
    with pytest.raises(ValueError, match="no"):
        command(*small)
    failing.errors = [ConfigError("type this")]
    assert command(*small).err == "Error: type this\n"


def test_hydras_variable_shows_the_traceback_and_is_not_inherited(
    command: Command, failing: Failing, small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command(*small).code == 0
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    failing.errors = [ConfigError("no")]
    with pytest.raises(ConfigError):
        command(*small)
    assert failing.full_error == ["0", "1"]
    with pytest.raises(Exception, match="Could not override"):
        command("optimizer.lr=1")


def test_a_mistake_in_one_job_of_a_sweep_stops_no_other(
    command: Command, failing: Failing, small: list[str]
) -> None:
    failing.errors = [ValueError("job 0 has 100% [/b] failed")]
    answer = command("-m", "seed=0,1,2", *small)
    assert answer.code == 1
    assert answer.err.splitlines()[-1] == "Error: job 0 has 100% [/b] failed"
    assert answer.out.count("job 0 has 100% [/b] failed") == 1
    assert len(failing.full_error) == 3


def test_launchers_can_pickle_a_job() -> None:
    job = CheckedTask(len, False)
    assert pickle.loads(pickle.dumps(job)) == job


def test_the_place_in_the_owners_code_is_named(
    project: Path, command: Command, small: list[str]
) -> None:
    answer = command(*small, "model.optimizer.lr=-1", "train=true", "trainer.fast_dev_run=true")
    assert "Invalid learning rate: -1" in answer.err
    assert " (src/models/lit_module.py:" in answer.err
    assert answer.err.endswith("HYDRA_FULL_ERROR=1 shows the traceback)\n")


def test_what_does_not_fit_the_data_is_short(command: Command, small: list[str]) -> None:
    answer = command(*small, "model.net.input_size=3", "trainer.limit_train_batches=2")
    assert answer.err.count("\n") == 1
    assert "mat1 and mat2 shapes cannot be multiplied" in answer.err
    answer = command(*small, "+trainer.limit_val_batches=0.001")
    assert "Try at least `limit_val_batches=" in answer.err
    assert answer.err.count("\n") == 1


def test_a_checkpoint_that_does_not_fit_is_one_line() -> None:
    from torch import nn

    with pytest.raises(RuntimeError) as caught:
        nn.Linear(2, 3).load_state_dict(nn.Linear(3, 3).state_dict())
    text = error_text(caught.value)
    assert "Error(s) in loading state_dict for Linear: size mismatch for weight" in text
    assert "\n" not in text
