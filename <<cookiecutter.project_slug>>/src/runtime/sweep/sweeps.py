"""Sweeps that can be run again: what has finished is not done twice.

`python src/train.py -m model.optimizer.lr=0.1,0.01 sweep_name=lr_grid` keeps its jobs in
`logs/train/multiruns/lr_grid/NUMBER`. The same command goes on after any interruption: finished
jobs answer with their recorded result, killed ones go on from their last checkpoint, failed ones
start again. A job keeps its number whatever is added beside it, since `sweep.json` knows numbers by
overrides.

Works with any sweeper and any launcher: it stands between the two.
"""

import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from src.runtime import cli, record
from src.runtime.checkpoint import checkpoint_paths
from src.runtime.config.plain_config import as_typed, flatten
from src.runtime.sweep import results, sweep_jobs

log = logging.getLogger(__name__)


class Sweep(Callback):
    """Put `ResumingLauncher` around the launcher of a sweep, and show how the jobs ended."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a name where there is no sweep."""
        if name := results.settings(as_typed(config.hydra.overrides.task)).get("sweep_name"):
            raise SystemExit(f"Error: sweep_name={name} names a sweep. Add -m to make this one")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Wrap the launcher that the sweeper will ask for; Hydra has no hook between the two."""
        if _remembers(config):
            return
        plugins: Any = Plugins.instance()
        plugins.instantiate_launcher = functools.partial(_launcher, plugins.instantiate_launcher)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Show a table of the jobs, and exit with 1 if one of them failed."""
        if not _remembers(config) and _show(config):
            raise SystemExit(1)


class ResumingLauncher(Launcher):
    """Hands to another launcher the jobs that have not finished yet.

    Args:
        launcher: the other one.
        context: Hydra's.
        config: of the sweep.
    """

    def __init__(self, launcher: Launcher, context: HydraContext, config: DictConfig) -> None:
        self.launcher, self.context, self.config = launcher, context, config

    def setup(self, **kwargs: Any) -> None:
        """Nothing is left to set up."""

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Return the result of each job, recorded or new.

        Raises:
            ValueError: if another process runs this sweep, its name is none for a folder, or it has
                no jobs.
        """
        sweep_dir = Path(self.config.hydra.sweep.dir)
        name = self.config.get("sweep_name", sweep_dir.name)
        if not name or not sweep_dir.name.strip(".") or "/" in str(name):
            raise ValueError(f"sweep_name={name} is no name for a folder: sweep_name=lr_grid, say")
        if not job_overrides:
            raise ValueError("the sweep has no jobs: one of its overrides stands for no value")
        sweep_dir.mkdir(parents=True, exist_ok=True)
        with record.held(sweep_dir):
            numbers = sweep_jobs.numbers(sweep_dir, job_overrides)
            jobs = dict(zip(numbers, job_overrides, strict=True))
            records = {number: record.read(sweep_dir / str(number)) or {} for number in jobs}
            returns = {
                number: self._recorded(sweep_dir, number, jobs[number], known["metrics"])
                for number, known in records.items()
                if known.get("status") == "finished"
            }
            left = {n: list(o) for n, o in jobs.items() if n not in returns}
            for number, overrides in left.items():
                run_dir = sweep_dir / str(number)
                overrides.append(f"hydra.sweep.subdir='{number}'")
                was_killed = records[number].get("status") == "killed"
                if was_killed and any(checkpoint_paths.newest_first(run_dir)):
                    overrides.append(f"ckpt_path={checkpoint_paths.quoted(run_dir)}")
            print(sweep_jobs.summary(sweep_dir), flush=True)
            if left:
                try:
                    done = self.launcher.launch(list(left.values()), min(left))
                except Exception:
                    _show(self.config)
                    raise
                finally:
                    print(sweep_jobs.summary(sweep_dir), flush=True)
                returns |= zip(left, done, strict=True)
        return [self._for_sweeper(returns[number]) for number in numbers]

    def _recorded(
        self, sweep_dir: Path, number: int, overrides: Sequence[str], metrics: dict[str, float]
    ) -> JobReturn:
        now = self.context.config_loader.load_sweep_config(self.config, list(overrides))
        changed = _changed(sweep_dir / str(number) / ".hydra" / "config.yaml", now)
        if changed:
            log.warning(
                "Job %s finished with another configuration: %s. Its result stands; delete %s to "
                "run it again.",
                number,
                ", ".join(changed),
                sweep_dir / str(number),
            )
        finished = JobReturn(overrides=overrides, cfg=now)
        finished.return_value = cli.optimized_metric(self.config, metrics)
        finished.status = JobStatus.COMPLETED
        return finished

    def _for_sweeper(self, job: JobReturn) -> JobReturn:
        # Hydra's own sweeper would stop before its next batch; others count failures themselves.
        if job.status == JobStatus.FAILED and "BasicSweeper" in self.config.hydra.sweeper._target_:
            job.status, job.return_value = JobStatus.COMPLETED, None
        return job


def _launcher(
    instantiate: Callable[..., Launcher],
    hydra_context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
) -> Launcher:
    launcher = instantiate(hydra_context, sweep_jobs.Recorded(task_function), config)
    return ResumingLauncher(launcher, hydra_context, config)


def _remembers(config: DictConfig) -> bool:
    """Say whether the sweeper itself knows what is done: its jobs have no fixed overrides."""
    return config.hydra.sweeper._target_.startswith("hydra_plugins.optuna_search.")


def _changed(path: Path, now: DictConfig) -> list[str]:
    """Return the keys whose values in a job's saved configuration are not today's."""
    then: Any = OmegaConf.to_container(OmegaConf.load(path))
    today: Any = OmegaConf.to_container(now)
    del today["hydra"]
    old, new = flatten(then), flatten(today)
    keys = [key for key in old | new if old.get(key) != new.get(key)]
    return [key for key in keys if key not in sweep_jobs.BESIDE_THE_POINT]


def _show(config: DictConfig) -> bool:
    """Show how each job ended, and say whether one did not finish."""
    from src.runtime import console  # Rich takes a while, and a single run asks for no table

    sweep_dir = Path(config.hydra.sweep.dir)
    jobs = sweep_jobs.read(sweep_dir)
    numbers = sweep_jobs.asked[sweep_dir]
    rows = [results.Result.read(sweep_dir / str(n), jobs[n]) for n in numbers]
    metric = config.get("optimized_metric")
    console.print_table(results.table(rows, [metric] if metric else []))
    print(f"report: python src/report.py sweep={sweep_dir.name}")
    failed = any(row.status != "finished" for row in rows)
    if failed:
        print("The same command runs again what failed, and no more.")
    return failed
