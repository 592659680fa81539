"""Search with Optuna: its storage, samplers and pruners behind Hydra's `-m`.

The study is in a database: a search that is started again continues, and one that is started twice
has two workers. The folder of a trial is named for its number; the process that claims the folder
runs the trial, so that one that was killed is completed under its number.

Hydra imports this module at each start; Optuna is imported when a search begins.
"""

import logging
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from src.runtime.project import ConfigError, instantiate, shell_command
from src.runtime.run_folder import Claim, RunIsActive, active_owner
from src.runtime.sweeps import comparable_overrides, optimized_metric_names

log = logging.getLogger(__name__)

CLAIM = ".trial"  # in a trial's folder: the process that runs it and tells Optuna the result
NOT_REPEATED = ("common/search=", "sweep_name=", "optimized_metric=")  # in a single run
START_OVER = "To start over, give the search another name: sweep_name=NAME"

current_trial: Any = None  # the one that runs in this process, for its callback


class OptunaSearch(Sweeper):
    """Hydra sweeper that runs Optuna trials until `n_trials` are completed or pruned.

    `configs/hydra/sweeper/optuna.yaml` explains the keys; workers share the sweep's folder.
    """

    def __init__(self, study_name: str, n_trials: int, **settings: Any) -> None:
        self.study_name, self.n_trials, self.settings = study_name, int(n_trials), settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Store the configuration and create the launcher."""
        self.folder = Path(config.hydra.sweep.dir)
        self.metrics = optimized_metric_names(config)
        self.parser = OverridesParser.create(config_loader=hydra_context.config_loader)
        launcher = Plugins.instance().instantiate_launcher(hydra_context, task_function, config)
        self.launch = launcher.launch

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until the search is complete, and print the best ones.

        Raises:
            ConfigError: if it cannot run, does not fit the study, or its trials fail.
        """
        listed = [f"{key}={value}" for key, value in self.settings["params"].items()]
        given = self.parser.parse_overrides([*listed, *arguments])
        by_key = {override.get_key_element(): override for override in given}  # typed ones win
        self.overrides = list(by_key.values())
        try:
            self.study = self.create_or_load_study()
        except ModuleNotFoundError as error:
            install = 'uv pip install -e ".[optuna]"'
            raise ConfigError(f"hydra/sweeper=optuna needs {error.name}: {install}") from error
        left = f"{self.count_remaining_trials()} of {self.n_trials} trials left"
        note = ". Trials are not pruned: several metrics" if len(self.metrics) > 1 else ""
        print(f"Search {self.study_name}: {left}{note}", flush=True)
        failures = 0
        while claimed := self.next_trial_and_claim():
            state = self.run_trial(*claimed).state
            failures = failures + 1 if state == self.states.FAIL else 0
            if failures == 3:
                raise ConfigError(f"the search ends: {failures} trials in a row failed, see above")
        self.print_best_trials()

    def create_or_load_study(self) -> Any:
        """Create or load the study, and warn if its settings have changed.

        Raises:
            ConfigError: if there is not a direction for each metric.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.states = optuna.trial.TrialState
        directions = list(self.settings["directions"])
        if len(directions) != len(self.metrics):
            raise ConfigError(f"a search needs a direction for each metric: {self.metrics}")
        arguments: dict[str, Any] = {
            "study_name": self.study_name,
            "storage": open_optuna_storage(self.settings["storage"]),
            "directions": directions,
            "sampler": instantiate(self.settings["sampler"]),
            "pruner": instantiate(self.settings["pruner"]),
        }
        settings = [*self.metrics, *directions]
        settings += comparable_overrides([str(override.input_line) for override in self.overrides])
        try:
            study = optuna.create_study(**arguments)
            study.set_user_attr("settings", settings)
        except optuna.exceptions.DuplicatedStudyError:
            study = optuna.create_study(**arguments, load_if_exists=True)
            study.sampler.reseed_rng()  # with the seed, each process would draw the same trials
        if changed := set(study.user_attrs.get("settings", settings)) ^ set(settings):
            log.warning("Earlier trials differ in: %s. %s", " ".join(sorted(changed)), START_OVER)
        return study

    def count_remaining_trials(self) -> int:
        """Return how many trials are left; completed and pruned ones count as done."""
        done = (self.states.COMPLETE, self.states.PRUNED)
        return max(self.n_trials - len(self.study.get_trials(deepcopy=False, states=done)), 0)

    def next_trial_and_claim(self) -> tuple[Any, Claim] | None:
        """Return an abandoned or new trial and its claim, or None if no trial is left.

        Raises:
            ValueError: if a parameter had other choices before.
        """
        alive = 0
        for trial in self.study.get_trials(deepcopy=False, states=(self.states.RUNNING,)):
            folder = self.folder / str(trial.number)
            if active_owner(folder, CLAIM) or active_owner(folder):
                alive += 1
            elif "overrides" in trial.user_attrs:  # else it was killed before it began
                with suppress(RunIsActive):
                    return trial, Claim.acquire(folder, CLAIM)
        if alive >= self.count_remaining_trials():
            return None
        trial = self.study.ask()
        claim = Claim.acquire(self.folder / str(trial.number), CLAIM)
        trial.set_user_attr("overrides", [override_for_trial(trial, o) for o in self.overrides])
        return trial, claim

    def run_trial(self, trial: Any, claim: Claim) -> Any:
        """Run a trial, report the result to Optuna, and return the trial as it is stored."""
        global current_trial
        current_trial = trial if len(self.metrics) == 1 else None  # others are not pruned
        job = [*trial.user_attrs["overrides"], f"hydra.sweep.subdir={trial.number}"]
        (result,) = self.launch([job], initial_job_idx=trial.number)
        current_trial = None
        try:
            value, state = result.return_value, None  # Optuna then records NaN as a failure
        except Exception as error:
            log.error("Trial %d failed: %s", trial.number, error)
            value, state = None, self.states.FAIL
        if "pruned" in trial.user_attrs:
            value, state = None, self.states.PRUNED
        stored = self.study.tell(trial.number, value, state, skip_if_finished=True)
        claim.release()
        return stored

    def print_best_trials(self) -> None:
        """Print the best trials, each with the command that trains with its parameters."""
        for trial in self.study.best_trials:
            kept = [o for o in trial.user_attrs["overrides"] if not o.startswith(NOT_REPEATED)]
            print(f"Best trial {trial.number}:", trial.values, shell_command("src/train.py", *kept))
        print(f"More trials: hydra.sweeper.n_trials={2 * self.n_trials}. {START_OVER}")


def open_optuna_storage(url: str) -> Any:
    """Return Optuna's storage for a URL, and create the database if missing."""
    from optuna.storages import RDBStorage

    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    try:
        return RDBStorage(url)
    except Exception:  # perhaps another process creates the same tables just now
        time.sleep(2)
        return RDBStorage(url)


def override_for_trial(trial: Any, override: Override) -> str:
    """Return an override as text, with a value suggested by Optuna in place of a sweep."""
    if not override.is_sweep_override():
        return str(override.input_line)
    key, sweep = override.get_key_element(), override.value()
    if isinstance(sweep, IntervalSweep):
        suggest = trial.suggest_int if isinstance(sweep.end, int) else trial.suggest_float
        value = suggest(key, sweep.start, sweep.end, log="log" in sweep.tags)
    else:
        value = trial.suggest_categorical(key, list(override.sweep_string_iterator()))
    return f"{key}={value}"


def pruning_callback(monitor: str) -> Any:
    """Return a callback that reports a metric to Optuna and stops pruned trials.

    It does nothing outside of a search, with several metrics, and in a trial that is resumed or
    that runs in another process.
    """
    from lightning.pytorch.callbacks import LambdaCallback  # torch

    trial, steps = current_trial, count()

    def report(trainer: Any, pl_module: Any) -> None:
        nonlocal trial
        if trial is None or trainer.sanity_checking:
            return
        try:
            trial.report(float(trainer.callback_metrics[monitor]), next(steps))
            if trial.should_prune():
                trial.set_user_attr("pruned", True)
                trainer.should_stop = True
                trainer.fit_loop.min_epochs = 0
        except Exception as error:
            log.warning("Trial %d will not be pruned: %r", trial.number, error)
            trial = None

    return LambdaCallback(on_validation_end=report)
