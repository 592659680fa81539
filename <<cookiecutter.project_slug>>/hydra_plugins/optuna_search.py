"""`hydra/sweeper=optuna`: what `-m` tries next is decided by Optuna, which remembers it.

The study lies in a database. So a search that was ended goes on where it was, several processes on
several machines can work at one study, and `n_trials` is the number of trials in all of them.

Hydra finds this module because it lies in `hydra_plugins`. It imports no Optuna before a search.
"""

import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from src.runtime.sweep import trials

if TYPE_CHECKING:
    from optuna import Study, Trial

log = logging.getLogger(__name__)

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
        """Take over what Hydra hands to a sweeper.

        Raises:
            ValueError: if a key of `hydra.sweeper` has a value that does not fit.
        """
        from src.runtime.config import signatures  # every start loads this module

        own: Any = OmegaConf.to_container(config.hydra.sweeper, resolve=True)
        for fault in signatures.faults(own, "hydra.sweeper"):
            raise ValueError(fault)
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
            asked = [trials.ask(study, self.n_trials) for _ in range(min(free, self.n_jobs))]
            batch = [trial for trial in asked if trial is not None]
            if not batch:
                time.sleep(WAIT_SECONDS)  # the last trials run in other processes
                continue
            overrides = [[*fixed, *self._draw(t, space, fixed)] for t in batch]
            with trials.Heartbeat(storage, batch, study):
                assert self.launcher is not None
                returns = self.launcher.launch(overrides, initial_job_idx=batch[0].number)
            for trial, result in zip(batch, returns, strict=True):
                failed = trials.tell(study, trial, result)
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
        import optuna

        # Heartbeats are experimental, and recorded here, not in `Study.optimize`.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.filterwarnings("ignore", "Heartbeat of storage is supposed")
        if self.storage.startswith("sqlite:///"):
            Path(self.storage.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        storage = trials.open_storage(self.storage)
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

    def _draw(self, trial: "Trial", space: Sequence[Override], fixed: Sequence[str]) -> list[str]:
        drawn = [trials.draw(trial, override) for override in space]
        for condition, params in self.when.items():
            if condition in drawn or condition in fixed:
                drawn += [trials.draw(trial, override) for override in self._parsed(params)]
        return [*drawn, f"trial_number={trial.number}"]

    def _report(self, study: "Study", fixed: Sequence[str]) -> None:
        from src.runtime.sweep import study_report

        def is_group(name: str) -> bool:
            return bool(self.loader.get_group_options(name))

        assert self.config is not None
        folder, experiment = Path(self.config.hydra.sweep.dir), Path(self.experiment_file)
        study_report.write(study, folder, experiment, fixed, is_group)
