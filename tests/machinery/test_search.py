"""A search with Optuna continues, is shared, prunes, completes killed trials, and prints its best.

`x` of the toy is the result of a trial.
"""

import os
import random
import re
import shlex
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import toy_sweep
from hydra.errors import HydraException

from src.runtime import search
from src.runtime.project import ConfigError, write_json
from src.runtime.run_folder import read_run

optuna = pytest.importorskip("optuna")

TOY = str(Path(toy_sweep.__file__))
SPACE = ("x=interval(0,1)", "kind=choice(a,b)")


class Search:
    """A search with logs of its own."""

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self.folder = log_dir / "toy/multiruns/mine"

    def overrides(self, n_trials: int, *overrides: str) -> list[str]:
        settings = ("hydra/sweeper=optuna", "sweep_name=mine", f"paths.log_dir={self.log_dir}")
        return ["-m", *settings, f"hydra.sweeper.n_trials={n_trials}", *(overrides or SPACE)]

    def run(self, n_trials: int, *overrides: str) -> None:
        """Search in this process."""
        toy_sweep.main(*self.overrides(n_trials, *overrides))

    def start(self, n_trials: int, *overrides: str, **environment: str) -> "subprocess.Popen[str]":
        """Search in a process of its own."""
        return subprocess.Popen(
            [sys.executable, TOY, *self.overrides(n_trials, *overrides)],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def trials(self) -> list[Any]:
        url = f"sqlite:///{self.log_dir}/optuna/optuna.db"
        return optuna.load_study(study_name="mine", storage=url).trials

    def states(self) -> list[str]:
        return [trial.state.name for trial in self.trials()]

    def ran(self) -> list[str]:
        """Return the folder's name for each job that ran."""
        return [line.split()[0] for line in (self.log_dir / "lines").read_text().splitlines()]


@pytest.fixture
def mine(tmp_path: Path) -> Search:
    return Search(tmp_path)


def test_a_search_continues_to_the_number_of_trials_in_all(
    mine: Search, capsys: pytest.CaptureFixture[str]
) -> None:
    mine.run(3)
    mine.run(5)
    assert mine.states() == ["COMPLETE"] * 5
    assert mine.ran() == ["0", "1", "2", "3", "4"]
    assert len({trial.params["x"] for trial in mine.trials()}) == 5  # a seed repeats nothing
    assert all(0 <= trial.value == trial.params["x"] <= 1 for trial in mine.trials())
    output = capsys.readouterr().out
    assert "Search mine: 3 of 3 trials left" in output
    assert "Search mine: 2 of 5 trials left" in output


def test_the_first_trials_repeat_in_a_new_study(mine: Search, tmp_path: Path) -> None:
    other = Search(tmp_path / "other")
    for search_ in (mine, other):
        search_.run(2)
    assert [t.params for t in mine.trials()] == [t.params for t in other.trials()]


def test_a_search_that_is_done_says_how_to_go_on(
    mine: Search, capsys: pytest.CaptureFixture[str]
) -> None:
    mine.run(2)
    mine.run(2, *SPACE, "seed=1")
    assert len(mine.ran()) == 2
    output = capsys.readouterr().out
    assert "Search mine: 0 of 2 trials left" in output
    assert "More trials: hydra.sweeper.n_trials=4. To start over, give the search another" in output
    assert "Earlier trials differ in: seed=1" in output


def test_the_command_of_the_best_trial_repeats_it(
    mine: Search, capsys: pytest.CaptureFixture[str]
) -> None:
    mine.run(3, "x=interval(0,1)", "+note='a b'")
    best = max(mine.trials(), key=lambda trial: trial.value)
    output = capsys.readouterr().out
    assert f"Best trial {best.number}: [{best.value}]" in output
    line = next(line for line in output.splitlines() if "src/train.py" in line)
    words = shlex.split(line)
    assert words[words.index("src/train.py") + 1 :] == [
        f"paths.log_dir={mine.log_dir}",
        f"x={best.params['x']}",
        "+note='a b'",
    ]


def test_each_kind_of_sweep_is_drawn_from(mine: Search) -> None:
    mine.run(
        8,
        "x=tag(log,interval(0.001,1))",
        "+a=range(1,7,2)",
        "+b=int(interval(1,3))",
        "+c=range(0.5,2,0.5)",
    )
    params = [trial.params for trial in mine.trials()]
    assert {value["+a"] for value in params} <= {"1", "3", "5"}
    assert {value["+b"] for value in params} <= {1, 2, 3}
    assert {value["+c"] for value in params} <= {"0.5", "1.0", "1.5"}
    assert all(0.001 <= value["x"] <= 1 for value in params)


def test_folders_are_named_for_trials_whatever_is_typed(mine: Search) -> None:
    mine.run(2, *SPACE, "hydra.sweep.subdir='${hydra.job.override_dirname}'")
    assert mine.ran() == ["0", "1"]


def test_what_is_typed_replaces_what_is_listed(mine: Search) -> None:
    listed = "+hydra.sweeper.params={x: 'interval(0,1)', kind: 'choice(a,b)'}"
    mine.run(2, listed, "x=interval(5,6)", "kind=b")
    assert all(5 <= trial.value <= 6 and "kind" not in trial.params for trial in mine.trials())


def test_two_objectives_are_kept_and_their_front_is_printed(
    mine: Search, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ("optimized_metric='val/acc,val/loss'", "hydra.sweeper.directions=[maximize,maximize]")
    mine.run(3, "x=interval(0,1)", *both)
    assert all(
        trial.values == [trial.params["x"], 1 - trial.params["x"]] for trial in mine.trials()
    )
    output = capsys.readouterr().out
    assert re.findall(r"Best trial (\d)", output) == ["0", "1", "2"]
    assert re.search(r"Best trial 0: \[0\.\d+, 0\.\d+\]", output)
    assert "Trials are not pruned" in output


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([*SPACE, "optimized_metric=null"], "a direction for each metric"),
        ([*SPACE, "hydra.sweeper.directions=[minimize,minimize]"], "a direction for each metric"),
    ],
)
def test_a_search_that_cannot_run_leaves_nothing(
    mine: Search, overrides: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        mine.run(2, *overrides)
    assert not (mine.log_dir / "optuna").exists()


def test_an_unknown_choice_leaves_nothing(mine: Search) -> None:
    with pytest.raises(Exception, match="missing"):
        mine.run(2, "hydra/job_logging=choice(default,missing)", "x=interval(0,1)")
    assert not (mine.log_dir / "optuna").exists()


def test_optuna_is_an_extra(mine: Search, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r'needs optuna: uv pip install -e "\.\[optuna\]"'):
        mine.run(2)


def test_other_choices_need_a_new_study(mine: Search, capsys: pytest.CaptureFixture[str]) -> None:
    mine.run(2)
    with pytest.raises(ValueError, match="does not support dynamic value space"):
        mine.run(3, "x=interval(0,1)", "kind=choice(a,c)")
    mine.run(2, *SPACE, "hydra.sweeper.directions=[minimize]")
    output = capsys.readouterr().out
    assert "Earlier trials differ in: kind=choice(a,b) kind=choice(a,c). To start over" in output
    assert "Earlier trials differ in: maximize minimize. To start over" in output


def test_a_number_of_trials_that_is_none_is_refused(mine: Search) -> None:
    with pytest.raises(HydraException, match="abc"):
        mine.run(2, *SPACE, "hydra.sweeper.n_trials=abc")


def test_failing_trials_are_replaced_but_not_for_ever(
    mine: Search, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOY_BAD", "2")
    mine.run(3, "x=choice(1,2)")
    assert mine.states().count("COMPLETE") == 3
    monkeypatch.setenv("TOY_BAD", "all")
    with pytest.raises(ConfigError, match="3 trials in a row failed"):
        mine.run(9, "x=choice(1,2)")
    assert mine.states()[-3:] == ["FAIL"] * 3
    assert re.search(r"Trial \d failed: x=\d is bad", capsys.readouterr().out)


def test_a_killed_trial_is_completed_under_its_number(mine: Search) -> None:
    assert mine.start(4, TOY_DEADLY="1").wait() == -signal.SIGKILL
    assert mine.states() == ["COMPLETE", "RUNNING"]
    params = mine.trials()[1].params
    mine.run(4, "x=interval(0,1)", "kind=choice(a,b)", "seed=3")
    assert mine.states() == ["COMPLETE"] * 4
    assert mine.ran() == ["0", "1", "1", "2", "3"]
    assert mine.trials()[1].params == params
    assert mine.trials()[1].value == params["x"]
    assert "seed=3" not in read_run(mine.folder / "1")["overrides"]


def test_a_result_that_was_not_told_is_not_computed_again(mine: Search) -> None:
    mine.start(2, TOY_DEADLY="1").wait()
    record = {"status": "finished", "metrics": {"val/acc": 0.25}}
    known = read_run(mine.folder / "1")
    write_json(mine.folder / "1/run.json", known | record)
    mine.run(2)
    assert mine.ran() == ["0", "1"]
    assert mine.trials()[1].value == 0.25


def test_two_workers_run_each_trial_once(mine: Search) -> None:
    workers = [mine.start(8, TOY_SECONDS="0.2") for _ in range(2)]
    outputs = [worker.communicate()[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], outputs
    assert mine.states().count("COMPLETE") == 8
    assert sorted(Counter(mine.ran()).values()) == [1] * 8


def kill_again_and_again(mine: Search, kills: int) -> None:
    rng = random.Random(0)
    for _ in range(kills):
        process = mine.start(8, TOY_SECONDS="0.3")
        try:
            process.communicate(timeout=1 + 2 * rng.random())
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    mine.run(8)
    ran = Counter(mine.ran())
    assert mine.states().count("COMPLETE") == 8
    assert sum(ran.values()) <= 8 + kills
    for trial in mine.trials():
        if trial.state.name == "COMPLETE":
            assert trial.value == trial.params["x"]
            assert str(trial.number) in ran


def test_a_search_that_is_killed_again_and_again_loses_no_trial(mine: Search) -> None:
    kill_again_and_again(mine, kills=3)


@pytest.mark.slow
def test_twenty_kills(mine: Search) -> None:
    kill_again_and_again(mine, kills=20)


class StubTrial:
    """A trial that is given up at its second report."""

    number = 7

    def __init__(self, error: Exception | None = None) -> None:
        self.reports: list[tuple[float, int]] = []
        self.attributes: dict[str, Any] = {}
        self.error = error

    def report(self, value: float, step: int) -> None:
        if self.error:
            raise self.error
        self.reports.append((value, step))

    def should_prune(self) -> bool:
        return len(self.reports) == 2

    def set_user_attr(self, name: str, value: Any) -> None:
        self.attributes[name] = value


@pytest.mark.parametrize("error", [None, OSError("database is locked")])
def test_a_hopeless_trial_ends_early_and_as_usual(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception | None
) -> None:
    from lightning.pytorch import Trainer
    from lightning.pytorch.demos.boring_classes import BoringModel

    class Model(BoringModel):
        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            self.log("val/acc", float(self.current_epoch))

    trial = StubTrial(error)
    monkeypatch.setattr(search, "current_trial", trial)
    trainer = Trainer(
        callbacks=[search.pruning_callback("val/acc")],
        default_root_dir=tmp_path,
        limit_train_batches=1,
        limit_val_batches=1,
        max_epochs=4,
        min_epochs=4,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Model())
    if error:
        assert trainer.current_epoch == 4
    else:
        assert trainer.current_epoch == 2
        assert trial.reports == [(0.0, 0), (1.0, 1)]
        assert trial.attributes == {"pruned": True}


def test_a_pruned_trial_is_recorded_as_pruned(
    mine: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = toy_sweep.job

    def pruned(cfg: Any) -> Any:
        assert search.current_trial is not None
        search.current_trial.report(0.5, 0)
        search.current_trial.set_user_attr("pruned", True)
        return job(cfg)

    monkeypatch.setattr(toy_sweep, "job", pruned)
    mine.run(2)
    assert mine.states() == ["PRUNED", "PRUNED"]
    assert search.current_trial is None
