"""Searching with Optuna: it goes on, it is shared, it prunes, and its best trial can be run."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from src.runtime.config import extras, overrides
from src.runtime.identity import PROJECT_ROOT
from src.runtime.sweep.study_report import as_experiment

optuna = pytest.importorskip("optuna")

# Everything of a search but the training: the value of a trial follows from its parameters.
FUNCTION = """
import os, sys, time
sys.path[0] = {root!r}
import hydra
from src.runtime import cli, hydra_versions

@hydra.main(config_path={configs!r}, config_name="train", **hydra_versions.MAIN)
def main(cfg):
    lr = cfg.model.optimizer.lr
    time.sleep(cfg.get("sleep", 0))
    if lr < cfg.get("fail_below", 0):
        raise RuntimeError("no such luck")
    with open(cfg.paths.log_dir + "/calls", "a") as file:
        file.write(f"{{cfg.trial_number}} {{os.getpid()}}\\n")
    values = (lr, cfg.data.batch_size)
    return values if cfg.get("two") else lr

if __name__ == "__main__":
    cli.run(main, "train")
"""
SEARCH = (
    "-m",
    "common/search=mnist_optuna",
    "hydra.sweeper.sampler=random",
    "hydra/job_logging=none",
)
PATIENT = "hydra.sweeper.max_failures=20"


class Search:
    """A search in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "function.py"
        configs = str(PROJECT_ROOT / "configs")
        self.script.write_text(FUNCTION.format(root=str(PROJECT_ROOT), configs=configs))

    def start(self, *overrides: str, n_trials: int) -> subprocess.Popen[str]:
        """Start a process that works at the study until it has `n_trials`."""
        command = [sys.executable, self.script, *SEARCH, f"hydra.sweeper.n_trials={n_trials}"]
        command += [f"paths.log_dir={self.folder}", *overrides]
        command += [f"hydra.sweeper.experiment_file={self.folder}/best.yaml"]
        return subprocess.Popen(
            command, cwd=PROJECT_ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def run(self, *overrides: str, n_trials: int, returncode: int = 0) -> str:
        """Run it to its end and return its output."""
        process = self.start(*overrides, n_trials=n_trials)
        output, _ = process.communicate()
        assert process.returncode == returncode, output
        return output

    @property
    def trials(self) -> list[Any]:
        """All trials of the study."""
        url = f"sqlite:///{self.folder}/optuna/optuna.db"
        return optuna.load_study(study_name="mnist", storage=url).trials


@pytest.fixture
def search(tmp_path: Path) -> Search:
    """Return a search without any trial."""
    return Search(tmp_path)


def states(search: Search) -> list[str]:
    """Return how the trials ended."""
    return [trial.state.name for trial in search.trials]


@pytest.mark.slow
def test_an_interval_is_drawn_from(search: Search) -> None:
    search.run("model.optimizer.lr=interval(0.25,0.5)", n_trials=3)
    rates = [trial.params["model.optimizer.lr"] for trial in search.trials]
    assert len(set(rates)) == 3
    assert all(0.25 <= rate <= 0.5 for rate in rates)


@pytest.mark.slow
def test_a_search_goes_on_to_the_number_of_trials_in_all_and_writes_the_best(
    search: Search, tmp_path: Path
) -> None:
    search.run(n_trials=3)
    assert "Going on with study mnist: 3 trials so far" in search.run(n_trials=5)
    assert states(search) == ["COMPLETE"] * 5
    rates = [trial.params["model.optimizer.lr"] for trial in search.trials]
    assert len(set(rates)) == 5  # a seed does not repeat itself
    with_momentum = {"model.optimizer.momentum" in t.params for t in search.trials if sgd(t)}
    assert with_momentum == {True}
    assert not any("model.optimizer.momentum" in t.params for t in search.trials if not sgd(t))
    folder = tmp_path / "train/multiruns/mnist"
    assert {path.name for path in folder.glob("*.*")} >= {"trials.csv", "history.png"}
    best = max(search.trials, key=lambda trial: trial.value)
    experiment = yaml.safe_load((tmp_path / "best.yaml").read_text())
    assert experiment["model"]["optimizer"]["lr"] == best.params["model.optimizer.lr"] == max(rates)
    optimizer = {"override /model/optimizer": best.params["model/optimizer"]}
    assert experiment["defaults"] == [optimizer, "_self_"]


def sgd(trial: "optuna.trial.FrozenTrial") -> bool:
    """Say which optimizer was drawn."""
    return trial.params["model/optimizer"] == "sgd"


@pytest.mark.slow
def test_two_processes_share_a_study_to_the_exact_number(search: Search, tmp_path: Path) -> None:
    workers = [search.start("+sleep=0.1", n_trials=9) for _ in range(2)]
    for worker in workers:
        output, _ = worker.communicate()
        assert worker.returncode == 0, output
    assert states(search).count("COMPLETE") == 9
    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    assert len({number for number, _ in calls}) == len(calls) == 9
    assert len({process for _, process in calls}) == 2


@pytest.mark.slow
def test_failed_trials_are_replaced_and_told(search: Search) -> None:
    output = search.run("+fail_below=0.01", PATIENT, n_trials=4, returncode=1)
    assert states(search).count("COMPLETE") == 4
    assert states(search).count("FAIL") > 0
    assert "were replaced by others" in output


@pytest.mark.slow
def test_a_search_whose_trials_all_fail_ends(search: Search) -> None:
    output = search.run("+fail_below=1", n_trials=4, returncode=1)
    assert "3 trials in a row failed" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_several_objectives(search: Search, tmp_path: Path) -> None:
    search.run("+two=true", "hydra.sweeper.directions=[maximize,minimize]", n_trials=4)
    assert all(len(trial.values) == 2 for trial in search.trials)
    assert (tmp_path / "best.yaml").exists()


@pytest.mark.slow
def test_an_unknown_sampler_is_named(search: Search) -> None:
    output = search.run("hydra.sweeper.sampler=tps", n_trials=1, returncode=1)
    assert "hydra.sweeper.sampler=tps is unknown: choose one of tpe, random" in output


def test_overrides_become_an_experiment() -> None:
    overrides = ["experiment=mine", "model/net=cnn", "+a.b=1", "seed=0", "common/search=x"]
    text = as_experiment(overrides, lambda name: name in ("experiment", "model/net"), "")
    assert yaml.safe_load(text) == {
        "defaults": ["mine", {"override /model/net": "cnn"}, "_self_"],
        "a": {"b": 1},
        "seed": 0,
    }
    assert text.startswith("# @package _global_\n")


@pytest.mark.slow
def test_hopeless_trials_are_pruned_and_the_best_one_runs(tmp_path: Path) -> None:
    name = "tried_out_best"
    file = PROJECT_ROOT / f"configs/experiment/{name}.yaml"
    common = ("data=digits", "trainer.accelerator=cpu", "common/logger@logger=none")
    command = [sys.executable, "src/train.py", *common, f"paths.log_dir={tmp_path}"]
    length = ["trainer.min_epochs=6", "trainer.max_epochs=6"]
    searching = ["common/search=mnist_optuna", "hydra.sweeper.n_trials=12", *length]
    searching += ["hydra.mode=MULTIRUN", f"hydra.sweeper.experiment_file={file}"]
    try:
        subprocess.run([*command, *searching], cwd=PROJECT_ROOT, check=True)
        study = optuna.load_study(
            study_name="mnist", storage=f"sqlite:///{tmp_path}/optuna/optuna.db"
        )
        pruned = [trial for trial in study.trials if trial.state.name == "PRUNED"]
        assert pruned
        assert all(len(trial.intermediate_values) < 6 for trial in pruned)
        run = [*command, f"experiment={name}", "trainer.max_epochs=1"]
        subprocess.run(run, cwd=PROJECT_ROOT, check=True)
    finally:
        file.unlink(missing_ok=True)


@pytest.mark.slow
def test_ax_searches_on_the_hydra_that_it_needs(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_ax_sweeper")
    small = ("data=digits", "trainer.accelerator=cpu", "trainer.max_epochs=1")
    ours = ("common/logger@logger=none", "common/search=mnist_ax", f"paths.log_dir={tmp_path}")
    command = [sys.executable, "src/train.py", "-m", *small, *ours]
    command.append("hydra.sweeper.ax_config.max_trials=4")
    subprocess.run(command, cwd=PROJECT_ROOT, check=True)
    (sweep,) = (tmp_path / "train/multiruns").iterdir()
    best = yaml.safe_load((sweep / "optimization_results.yaml").read_text())
    runs = [yaml.safe_load((sweep / f"{job}/.hydra/config.yaml").read_text()) for job in range(4)]
    rates = [run["model"]["optimizer"]["lr"] for run in runs]
    assert len(set(rates)) == 4
    assert all(0.0001 <= rate <= 0.1 for rate in rates)
    assert best["ax"]["model.optimizer.lr"] in rates


def test_a_search_without_m_and_a_launcher_without_its_plugin_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ValueError, match="common/search=mnist_optuna is a sweep"):
        overrides.check(["common/search=mnist_optuna"])
    overrides.check(["-m", "common/search=mnist_optuna"])
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="uv sync --extra joblib"):
        extras.check_plugins(["-m", "hydra/launcher=joblib"])
