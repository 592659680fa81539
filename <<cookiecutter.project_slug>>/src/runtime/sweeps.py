"""Sweeps that can be run again: what has finished is not done twice.

`python src/train.py -m model.optimizer.lr=0.1,0.01 sweep_name=lr_grid` keeps its jobs in
`logs/train/multiruns/lr_grid/NUMBER`. The same command goes on after any interruption: finished
jobs answer with their recorded result, killed ones go on from their last checkpoint, failed ones
start again. A job keeps its number whatever is added beside it, since `sweep.json` knows numbers by
overrides.

Works with any sweeper and any launcher: it stands between the two.
"""

import functools
import json
import logging
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from src.runtime import cli, console, record, results
from src.runtime.plain_config import flatten

log = logging.getLogger(__name__)

INDEX = "sweep.json"
NOT_THE_JOBS = ("sweep_name", "optimized_metric")  # change nothing of what a job does

_asked: dict[Path, list[int]] = {}  # the jobs that this process was asked for, by sweep


class Sweep(Callback):
    """Put `ResumingLauncher` around the launcher of a sweep, and show how the jobs ended."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a name where there is no sweep."""
        if name := results.settings(config.hydra.overrides.task).get("sweep_name"):
            raise SystemExit(f"Error: sweep_name={name} names a sweep. Add -m to make this one")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Wrap the launcher that the sweeper will ask for; Hydra has no hook between the two."""
        plugins: Any = Plugins.instance()
        plugins.instantiate_launcher = functools.partial(_launcher, plugins.instantiate_launcher)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Show a table of the jobs, and exit with 1 if one of them failed."""
        if _show(config):
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
            ValueError: if another process runs this sweep, or its name is none for a folder.
        """
        sweep_dir = Path(self.config.hydra.sweep.dir)
        if not sweep_dir.name.strip(".") or "/" in str(self.config.get("sweep_name", "")):
            raise ValueError(f"sweep_name={self.config.sweep_name} is no name for a folder")
        sweep_dir.mkdir(parents=True, exist_ok=True)
        with record.held(sweep_dir):
            numbers = _numbers(sweep_dir, job_overrides)
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
                if records[number].get("status") == "killed" and _last_checkpoint(run_dir):
                    overrides.append(f"ckpt_path='{_last_checkpoint(run_dir)}'")
            print(_line(sweep_dir), flush=True)
            if left:
                try:
                    done = self.launcher.launch(list(left.values()), min(left))
                except Exception:
                    _show(self.config)
                    raise
                finally:
                    print(_line(sweep_dir), flush=True)
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
    launcher = instantiate(hydra_context, Recorded(task_function), config)
    return ResumingLauncher(launcher, hydra_context, config)


class Recorded:
    """A job's task: a failure of whatever kind ends up in `run.json` and in the job's log."""

    def __init__(self, task: TaskFunction) -> None:
        self.task = task

    def __call__(self, cfg: DictConfig) -> Any:
        """Run the task in the job's own process."""
        job: Any = HydraConfig.get()
        with read_write(job), open_dict(job):  # launchers count what they launch
            job.job.num = job.job.id = int(job.sweep.subdir)
        run_dir = job.runtime.output_dir
        started = _now()
        try:
            return self.task(cfg)
        except Exception as error:
            line = next(iter(str(error).splitlines()), "")
            log.error("%s", error, exc_info=not isinstance(error, cli.MISTAKES))
            known = record.read(run_dir) or {}
            if known.get("status") != "failed" or known["ended"] < started:
                fresh = {"started": started, "metrics": {}, "best_checkpoint": None}
                now = {
                    "status": "failed",
                    "task": cfg.task_name,
                    "ended": _now(),
                    "overrides": list(job.overrides.task),
                    "error": f"{type(error).__name__}: {line}",
                }
                record.write(run_dir, fresh | known | now)
            raise


def _numbers(sweep_dir: Path, job_overrides: Sequence[Sequence[str]]) -> list[int]:
    """Return the number of each job, and write down those of new jobs."""
    path = sweep_dir / INDEX
    jobs = read_jobs(sweep_dir)
    numbers: list[int] = []
    asked = _asked.setdefault(sweep_dir, [])
    for overrides in job_overrides:
        key = sorted(o for o in overrides if o.split("=")[0] not in NOT_THE_JOBS)
        # A job that comes up twice is two jobs: a sampler may have its reasons.
        known = [n for n, job in jobs.items() if job == key and n not in asked]
        taken = [int(p.name) for p in sweep_dir.iterdir() if p.name.isdecimal()]
        number = known[0] if known else max([-1, *jobs, *taken]) + 1
        jobs[number] = key
        numbers.append(number)
        asked.append(number)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps({"jobs": jobs}, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return numbers


def read_jobs(sweep_dir: Path) -> dict[int, list[str]]:
    """Return the overrides of each job of a sweep, by number; none where there is no sweep."""
    try:
        index = json.loads((sweep_dir / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {int(number): overrides for number, overrides in index["jobs"].items()}


def _changed(path: Path, now: DictConfig) -> list[str]:
    """Return the keys whose values in a job's saved configuration are not today's."""
    then: Any = OmegaConf.to_container(OmegaConf.load(path))
    today: Any = OmegaConf.to_container(now)
    del today["hydra"]
    old, new = flatten(then), flatten(today)
    keys = [key for key in old | new if old.get(key) != new.get(key)]
    return [key for key in keys if key not in NOT_THE_JOBS]


def _last_checkpoint(run_dir: Path) -> Path | None:
    path = run_dir / "checkpoints" / "last.ckpt"
    return path if path.is_file() else None


def _line(sweep_dir: Path) -> str:
    """Return how many of the jobs that were asked for are done, failed and left."""
    status = [(record.read(sweep_dir / str(n)) or {}).get("status") for n in _asked[sweep_dir]]
    done, failed = status.count("finished"), status.count("failed")
    left = len(status) - done - failed
    return f"sweep {sweep_dir.name}: {done} done, {failed} failed, {left} left"


def _show(config: DictConfig) -> bool:
    """Show how each job ended, and say whether one did not finish."""
    sweep_dir = Path(config.hydra.sweep.dir)
    jobs = read_jobs(sweep_dir)
    numbers = _asked.get(sweep_dir, [])
    rows = [results.Result.read(sweep_dir / str(n), jobs[n]) for n in numbers]
    metric = config.get("optimized_metric")
    console.print_table(results.table(rows, [metric] if metric else []))
    print(f"report: python src/report.py sweep={sweep_dir.name}")
    failed = any(row.status != "finished" for row in rows)
    if failed:
        print("The same command runs again what failed, and no more.")
    return failed


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")
