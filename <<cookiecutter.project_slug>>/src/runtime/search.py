"""Search with Optuna: its storage, samplers and pruners behind Hydra's `-m`.

The study is in a database: a search that is started again continues, and one that is started twice
has two workers. The folder of a trial is named for its number; the process that claims the folder
runs the trial, so that one that was killed is completed under its number.

Hydra imports this module at each start; Optuna is imported when a search begins.
"""

import logging
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from src.runtime.project import ConfigError, command, instantiate
from src.runtime.run_folder import Claim, RunIsActive, active_owner
from src.runtime.sweeps import comparable, optimized_metrics

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from optuna import Study, Trial

log = logging.getLogger(__name__)

CLAIM = ".trial"  # in a trial's folder: the process that runs it and tells Optuna the result
RACE_SECONDS = (0.2, 0.5, 1.0, 2.0)  # between attempts to make the tables of a new database
MOST_FAILURES = 3  # in a row
NOT_REPEATED = ("search=", "common/search=", "sweep_name=", "optimized_metric=", "callbacks.optuna")
INSTALL = 'uv pip install -e ".[optuna]"   (without uv: pip install -e ".[optuna]")'

ClaimedTrial = tuple[Any, Claim]  # Optuna's Trial; a FrozenTrial if another process had begun it

current_trial: "Trial | None" = None  # the one that runs in this process, for its callback


class Search(Sweeper):
    """Run trials until the study has `n_trials` that were completed or pruned, in all processes.

    `configs/hydra/sweeper/optuna.yaml` explains the keys; workers share the sweep's folder.
    """

    def __init__(self, study_name: str, n_trials: int, n_jobs: int, **settings: Any) -> None:
        self.study_name, self.n_trials, self.n_jobs = study_name, n_trials, n_jobs
        self.settings = settings

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what Hydra hands to a sweeper."""
        self.hydra_context, self.config = hydra_context, config
        self.folder = Path(config.hydra.sweep.dir)
        self.metrics = optimized_metrics(config)
        self.advice = f"To start over: sweep_name={self.study_name}_2"
        self.parser = OverridesParser.create(config_loader=hydra_context.config_loader)
        launcher = Plugins.instance().instantiate_launcher(hydra_context, task_function, config)
        self.launch = launcher.launch

    def sweep(self, arguments: list[str]) -> None:
        """Run the search.

        Raises:
            ConfigError: if it cannot run, does not fit the study, or its trials fail.
            hydra.errors.HydraException: if one of the choices cannot be composed.
        """
        listed = [f"{key}={value}" for key, value in self.settings["params"].items()]
        given = self.parser.parse_overrides([*listed, *arguments])
        by_key = {override.get_key_element(): override for override in given}  # typed ones win
        self.searched = {key: o for key, o in by_key.items() if o.is_sweep_override()}
        self.fixed = [str(o.input_line) for o in by_key.values() if not o.is_sweep_override()]
        directions = list(self.settings["directions"])
        if not self.searched:
            raise ConfigError("nothing to search: hydra.sweeper.params is empty")
        if len(self.metrics) != len(directions):
            given = f"optimized_metric={self.metrics}, hydra.sweeper.directions={directions}"
            raise ConfigError(f"a search needs a direction for each metric: {given}")
        try:
            import optuna
        except ModuleNotFoundError as error:
            raise ConfigError(f"hydra/sweeper=optuna needs {error.name}: {INSTALL}") from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.states = optuna.trial.TrialState
        self.study = self.open_study(directions)
        left = f"{self.count_left()} of {self.n_trials} trials left"
        print(f"Search {self.study_name}: {left}", flush=True)
        if len(self.metrics) > 1:
            print("Trials are not pruned: there are several metrics", flush=True)
        failures = 0
        while batch := list(islice(iter(self.next_trial, None), self.n_jobs)):
            for has_failed in self.run_trials(batch):
                failures = failures + 1 if has_failed else 0
            if failures >= MOST_FAILURES:
                raise ConfigError(f"the search ends: {failures} trials in a row failed, see above")
        self.print_best()

    def open_study(self, directions: list[str]) -> "Study":
        """Return the study, created if it is new; warn if it began with other overrides.

        Raises:
            ConfigError: if it has other directions.
        """
        from optuna import create_study
        from optuna.exceptions import DuplicatedStudyError

        sampler = dict(self.settings["sampler"])
        arguments: dict[str, Any] = {
            "study_name": self.study_name,
            "storage": open_database(self.settings["storage"]),
            "directions": directions,
            "pruner": instantiate(self.settings["pruner"]),
        }
        overrides = [*comparable(self.fixed), f"optimized_metric={','.join(self.metrics)}"]
        try:
            study = create_study(**arguments)
            study.set_user_attr("overrides", overrides)
        except DuplicatedStudyError:  # with the seed, each process would draw the same trials
            study = create_study(**arguments, load_if_exists=True)
            sampler.pop("seed", None)
        study.sampler = instantiate(sampler)
        known = [direction.name.lower() for direction in study.directions]
        if known != directions:
            raise ConfigError(f"the study has directions {known}. {self.advice}")
        if changed := set(study.user_attrs.get("overrides", overrides)) ^ set(overrides):
            names = " ".join(sorted(changed))
            log.warning("Earlier trials differ in: %s. %s", names, self.advice)
        return study

    def count_left(self) -> int:
        """Return how many trials are neither completed nor pruned yet."""
        done = (self.states.COMPLETE, self.states.PRUNED)
        return max(self.n_trials - len(self.study.get_trials(deepcopy=False, states=done)), 0)

    def claim_abandoned(self) -> ClaimedTrial | None:
        """Claim a trial whose process has ended without a result, if there is one."""
        for running in self.study.get_trials(deepcopy=False, states=(self.states.RUNNING,)):
            folder = self.folder / str(running.number)
            if not folder.exists() or is_alive(folder):
                continue
            with suppress(RunIsActive):
                claim = Claim.acquire(folder, CLAIM)
                trial = self.study.get_trials(deepcopy=False)[running.number]
                if not trial.state.is_finished():
                    if "overrides" in trial.user_attrs:
                        return trial, claim
                    self.study.tell(trial.number, state=self.states.FAIL)  # killed while drawing
                claim.release()
        return None

    def next_trial(self) -> ClaimedTrial | None:
        """Claim an abandoned trial, else begin a new one; None if enough of them have begun.

        Raises:
            ConfigError: if a parameter had other choices before.
        """
        if abandoned := self.claim_abandoned():
            return abandoned
        running = self.study.get_trials(deepcopy=False, states=(self.states.RUNNING,))
        alive = sum(is_alive(self.folder / str(trial.number)) for trial in running)
        if alive >= self.count_left():
            return None
        trial = self.study.ask()
        claim = Claim.acquire(self.folder / str(trial.number), CLAIM)
        try:
            drawn = [f"{key}={draw(trial, key, o)}" for key, o in self.searched.items()]
        except ValueError as error:
            self.study.tell(trial, state=self.states.FAIL)
            raise ConfigError(f"{error} {self.advice}") from error
        trial.set_user_attr("overrides", [*self.fixed, *drawn])
        return trial, claim

    def run_trials(self, batch: Sequence[ClaimedTrial]) -> list[bool]:
        """Run trials and tell Optuna their results; return whether each failed."""
        global current_trial
        first, _ = batch[0]
        can_prune = len(self.metrics) == self.n_jobs == 1 and hasattr(first, "should_prune")
        current_trial = first if can_prune else None
        jobs = [[*t.user_attrs["overrides"], f"hydra.sweep.subdir={t.number}"] for t, _ in batch]
        results = self.launch(jobs, initial_job_idx=first.number)
        current_trial = None
        return [self.tell(*claimed, result) for claimed, result in zip(batch, results, strict=True)]

    def tell(self, trial: Any, claim: Claim, result: JobReturn) -> bool:
        """Tell Optuna how a trial ended; return whether it failed."""
        if claim.lost():
            log.warning("Trial %d was taken over by another process", trial.number)
            return False
        outcome: dict[str, Any] = {"state": self.states.FAIL}
        try:
            value = result.return_value
            values = value if isinstance(value, tuple) else (value,)
            if any(map(math.isnan, values)):
                raise ValueError(f"{','.join(self.metrics)} is {value}")
            current = self.study.get_trials(deepcopy=False)[trial.number]
            is_pruned = "pruned" in current.user_attrs
            outcome = {"state": self.states.PRUNED} if is_pruned else {"values": values}
        except Exception as error:
            log.error("Trial %d failed: %s", trial.number, error)
        self.study.tell(trial.number, **outcome)
        claim.release()
        return outcome.get("state") == self.states.FAIL

    def print_best(self) -> None:
        """Print the best trials, each with the command that trains with its parameters."""
        for trial in self.study.best_trials[:5]:
            values = zip(self.metrics, trial.values or (), strict=True)
            print(f"Best trial {trial.number}:", *(f"{name}={value:.5g}" for name, value in values))
            overrides = trial.user_attrs["overrides"]
            kept = [override for override in overrides if not override.startswith(NOT_REPEATED)]
            print("   ", command("src/train.py", *kept))
        print(f"More trials: hydra.sweeper.n_trials={2 * self.n_trials}. {self.advice}")


def open_database(url: str) -> Any:
    """Return Optuna's storage for a URL; its file and tables are created if missing."""
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    if url.startswith("sqlite:///"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    for wait in RACE_SECONDS:
        with suppress(SQLAlchemyError):  # another process creates the same tables just now
            return RDBStorage(url)
        time.sleep(wait)
    return RDBStorage(url)


def is_alive(folder: Path) -> bool:
    """Return whether a process owns a trial, or the run in its folder."""
    return bool(active_owner(folder, CLAIM) or active_owner(folder))


def draw(trial: "Trial", key: str, override: Override) -> Any:
    """Draw a value for one of Hydra's sweeps: interval, range or choice."""
    sweep: Any = override.value()
    if isinstance(sweep, IntervalSweep):
        low, high, settings = sweep.start, sweep.end, {"log": "log" in sweep.tags}
    elif isinstance(sweep, RangeSweep):
        *_, high = sweep.range()  # which leaves out its end
        low, settings = sweep.start, {"step": sweep.step}
    else:
        return trial.suggest_categorical(key, list(override.sweep_string_iterator()))
    suggest: Any = trial.suggest_int if isinstance(high, int) else trial.suggest_float
    return suggest(key, low, high, **settings)


def pruning_callback(monitor: Any) -> "Callback":
    """Return the callback that reports a metric to Optuna and ends a trial that it gives up.

    It does nothing outside of a search, with several metrics, and in a trial that is resumed or
    that runs in another process.
    """
    from lightning.pytorch.callbacks import LambdaCallback  # torch

    trial, steps = current_trial, count()

    def report(trainer: "Trainer", pl_module: "LightningModule") -> None:
        nonlocal trial
        if trial is None or trainer.sanity_checking:
            return
        try:
            trial.report(float(trainer.callback_metrics[monitor]), next(steps))
            if trial.should_prune():
                log.info("Trial %d is pruned", trial.number)
                trial.set_user_attr("pruned", True)
                trainer.should_stop = True
                trainer.fit_loop.min_epochs = 0
        except Exception as error:
            log.warning("Trial %d will not be pruned: %r", trial.number, error)
            trial = None

    return LambdaCallback(on_validation_end=report)
