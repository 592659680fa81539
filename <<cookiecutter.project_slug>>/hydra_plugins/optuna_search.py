"""`hydra/sweeper=optuna`: what `-m` tries next is decided by Optuna, which remembers it.

The study lies in a database. So a search that was ended goes on where it was, several processes on
several machines can work at one study, and `n_trials` is the number of trials in all of them.

Hydra finds this module because it lies in `hydra_plugins`. It imports no Optuna before a search.
"""

import logging
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from optuna import Study, Trial

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS, GRACE_SECONDS = 5, 20  # a trial without a heartbeat this long counts as dead
WAIT_SECONDS = 1.0  # between two looks at what the other processes of a study do

SAMPLERS = {
    "tpe": "TPESampler",
    "random": "RandomSampler",
    "gp": "GPSampler",
    "cmaes": "CmaEsSampler",
    "nsgaii": "NSGAIISampler",
    "qmc": "QMCSampler",
    "grid": "BruteForceSampler",
}


class OptunaSweeper(Sweeper):
    """Run trials until the study has `n_trials` that were completed or pruned.

    Args:
        study_name: the study in the storage; run again with the same name to go on.
        storage: URL of a database, as in SQLAlchemy.
        n_trials: trials in all, earlier ones and those of other processes included.
        n_jobs: trials given to the launcher at once; worth more than 1 if it runs them in parallel.
        directions: `minimize` or `maximize`, for each of the job's objectives.
        sampler: one of `SAMPLERS`.
        sampler_options: its keyword arguments. A `seed` holds for the process that began the study;
            those that join or go on draw afresh, so that none repeats another's trials.
        params: what to search, from override to Hydra sweep: `model.optimizer.lr:
            tag(log, interval(1e-4, 1e-1))`.
        when: further `params` where a choice was made: `{"model/optimizer=sgd": {...}}`.
        max_failures: failed trials in a row that end the search.
        experiment_file: the best trial is written there, as an experiment.
    """

    def __init__(
        self,
        study_name: str,
        storage: str,
        n_trials: int,
        n_jobs: int,
        directions: Sequence[str],
        sampler: str,
        sampler_options: Mapping[str, Any],
        params: Mapping[str, str],
        when: Mapping[str, Mapping[str, str]],
        max_failures: int,
        experiment_file: str,
    ) -> None:
        if sampler not in SAMPLERS:
            names = ", ".join(SAMPLERS)
            raise ValueError(f"hydra.sweeper.sampler={sampler} is unknown: choose one of {names}")
        self.study_name, self.storage = study_name, storage
        self.n_trials, self.n_jobs, self.directions = n_trials, n_jobs, list(directions)
        self.sampler, self.sampler_options = sampler, dict(sampler_options)
        self.params, self.when = dict(params), {k: dict(v) for k, v in when.items()}
        self.max_failures = max_failures
        self.experiment_file = experiment_file
        self.launcher: Launcher | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take over what Hydra hands to a sweeper."""
        self.config, self.loader = config, hydra_context.config_loader
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the search.

        Raises:
            ValueError: if Optuna is missing, if nothing is to be searched, or if trials failed.
        """
        fixed, space = self._split(arguments)
        if not space:
            raise ValueError("nothing to search: hydra.sweeper.params is empty")
        try:
            study, storage = self._open_study()
        except ModuleNotFoundError as error:
            command = "uv sync --extra optuna   (without uv: pip install optuna)"
            raise ValueError(f"hydra/sweeper=optuna needs {error.name}: {command}") from error
        failures = in_a_row = 0
        while (free := self._free(study)) is not None:
            asked = [self._ask(study) for _ in range(min(free, self.n_jobs))]
            batch = [trial for trial in asked if trial is not None]
            if not batch:
                time.sleep(WAIT_SECONDS)  # the last trials run in other processes
                continue
            overrides = [[*fixed, *self._draw(t, space, fixed)] for t in batch]
            with _Heartbeat(storage, batch, study):
                assert self.launcher is not None
                returns = self.launcher.launch(overrides, initial_job_idx=batch[0].number)
            for trial, result in zip(batch, returns, strict=True):
                failed = self._tell(study, trial, result)
                failures, in_a_row = failures + failed, in_a_row + 1 if failed else 0
            if in_a_row >= self.max_failures:
                raise ValueError(f"the search ends: {in_a_row} trials in a row failed (see above)")
        self._report(study, fixed)
        if failures:
            raise ValueError(f"{failures} trials failed and were replaced by others (see above)")

    def _split(self, arguments: Sequence[str]) -> tuple[list[str], list[Override]]:
        """Return the overrides of every trial, and those to draw; the command line has priority."""
        given = OverridesParser.create(config_loader=self.loader).parse_overrides(list(arguments))
        fixed = [o.input_line for o in given if not o.is_sweep_override()]
        taken = {o.get_key_element() for o in given}
        listed = [o for o in self._parsed(self.params) if o.get_key_element() not in taken]
        return [line for line in fixed if line is not None], [
            *(o for o in given if o.is_sweep_override()),
            *listed,
        ]

    def _parsed(self, params: Mapping[str, Any]) -> list[Override]:
        parser = OverridesParser.create(config_loader=self.loader)
        return parser.parse_overrides([f"{key}={value}" for key, value in params.items()])

    def _open_study(self) -> tuple["Study", Any]:
        from pathlib import Path

        import optuna

        # Heartbeats are experimental, and recorded here, not in `Study.optimize`.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", "Heartbeat of storage is supposed")
        if self.storage.startswith("sqlite:///"):
            Path(self.storage.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        storage = optuna.storages.RDBStorage(
            self.storage, heartbeat_interval=HEARTBEAT_SECONDS, grace_period=GRACE_SECONDS
        )
        options = dict(self.sampler_options)
        sampler = getattr(optuna.samplers, SAMPLERS[self.sampler])
        settings: dict[str, Any] = {
            "study_name": self.study_name,
            "storage": storage,
            "directions": self.directions,
        }
        try:
            return optuna.create_study(**settings, sampler=sampler(**options)), storage
        except optuna.exceptions.DuplicatedStudyError:
            options.pop("seed", None)
            study = optuna.create_study(**settings, sampler=sampler(**options), load_if_exists=True)
        known = [direction.name.lower() for direction in study.directions]
        if known != self.directions:
            raise ValueError(
                f"study {self.study_name} has directions {known}, not {self.directions}: "
                "choose another hydra.sweeper.study_name"
            )
        log.info("Going on with study %s: %d trials so far", self.study_name, len(study.trials))
        return study, storage

    def _free(self, study: "Study") -> int | None:
        """Return how many trials may start now; None once the study is complete."""
        import optuna

        optuna.storages.fail_stale_trials(study)
        states = [trial.state.name for trial in study.get_trials(deepcopy=False)]
        done = states.count("COMPLETE") + states.count("PRUNED")
        return None if done >= self.n_trials else self.n_trials - done - states.count("RUNNING")

    def _ask(self, study: "Study") -> "Trial | None":
        """Begin a trial; None if another process began the last one at the same instant."""
        from optuna.trial import TrialState

        trial = study.ask()
        before = study.get_trials(deepcopy=False)[: trial.number]
        if sum(t.state != TrialState.FAIL for t in before) < self.n_trials:
            return trial
        study.tell(trial, state=TrialState.FAIL)
        return None

    def _draw(self, trial: "Trial", space: Sequence[Override], fixed: Sequence[str]) -> list[str]:
        drawn = [_suggest(trial, override) for override in space]
        for condition, params in self.when.items():
            if condition in drawn or condition in fixed:
                drawn += [_suggest(trial, override) for override in self._parsed(params)]
        return [*drawn, f"trial_number={trial.number}"]

    def _tell(self, study: "Study", trial: "Trial", result: JobReturn) -> bool:
        """Record how a trial ended; return whether it failed."""
        from optuna.trial import TrialState

        if result.status != JobStatus.COMPLETED:
            log.error("Trial %d failed: %s", trial.number, result._return_value)
            study.tell(trial, state=TrialState.FAIL)
            return True
        value = result.return_value
        values = list(value) if isinstance(value, list | tuple) else [value]
        if len(values) != len(self.directions) or any(v is None or v != v for v in values):
            log.error(
                "Trial %d returned %s: set optimized_metric to %d metric(s), of numbers",
                *(trial.number, value, len(self.directions)),
            )
            study.tell(trial, state=TrialState.FAIL)
            return True
        # By the callback that stopped it, in whatever process the trial ran:
        pruned = "pruned" in study.get_trials(deepcopy=False)[trial.number].user_attrs
        if pruned:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, values)
        log.info("Trial %d %s: %s", trial.number, "pruned" if pruned else "completed", values)
        return False

    def _report(self, study: "Study", fixed: Sequence[str]) -> None:
        from pathlib import Path

        from src.runtime import study_report

        def is_group(name: str) -> bool:
            return bool(self.loader.get_group_options(name))

        assert self.config is not None
        folder, experiment = Path(self.config.hydra.sweep.dir), Path(self.experiment_file)
        study_report.write(study, folder, experiment, fixed, is_group)


class _Heartbeat:
    """Say that the trials of a batch are alive; fail them if the launcher raises."""

    def __init__(self, storage: Any, trials: Sequence["Trial"], study: "Study") -> None:
        self.storage, self.trials, self.study = storage, trials, study
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._beat, name="trial-heartbeat", daemon=True)

    def _beat(self) -> None:
        while True:
            for trial in self.trials:
                self.storage.record_heartbeat(trial._trial_id)
            if self.over.wait(HEARTBEAT_SECONDS):
                return

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.over.set()
        self.thread.join()
        if kind is not None:
            from optuna.trial import TrialState

            for trial in self.trials:
                self.study.tell(trial, state=TrialState.FAIL)


def _suggest(trial: "Trial", override: Override) -> str:
    """Draw a value for a sweep of Hydra's, and return the override that sets it."""
    key, sweep = override.get_key_element(), override.value()
    if isinstance(sweep, IntervalSweep):
        low, high = sweep.start, sweep.end
        assert low is not None
        assert high is not None
        whole = isinstance(low, int) and isinstance(high, int)
        draw: Any = trial.suggest_int if whole else trial.suggest_float
        value = draw(key, low, high, log="log" in sweep.tags)
    elif isinstance(sweep, RangeSweep):
        start, stop, step = sweep.start, sweep.stop, sweep.step
        assert start is not None
        assert stop is not None
        whole = all(isinstance(x, int) for x in (start, stop, step))
        last = start + step * (-(-(stop - start) // step) - 1)  # Hydra's range leaves out its end
        draw = trial.suggest_int if whole else trial.suggest_float
        value = draw(key, start, last, step=step)
    elif override.is_sweep_override():
        value = trial.suggest_categorical(key, list(override.sweep_string_iterator()))
    else:
        value = override.get_value_element_as_str()
    return f"{key}={value}"
