"""Sweeps that can be continued: a folder for each job, stored results, a table at the end.

`python src/train.py -m model.optimizer.lr=0.1,0.01 sweep_name=lr` keeps its jobs in
`logs/train/multiruns/lr/NUMBER`. Repeating the command continues the sweep: a job finds its folder
by its overrides, since numbers shift when a value is added; a finished one returns its stored
result before torch is imported, a killed one resumes, a failed one starts again.
"""

import atexit
import logging
import secrets
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from src.runtime import project, report
from src.runtime.mlflow_upload import upload_status_after_waiting
from src.runtime.project import ConfigError, override_list, read_json, write_json
from src.runtime.run_folder import JOB, Claim, RunIsActive, read_run, run_dirs_and_records_below

log = logging.getLogger(__name__)

CLAIM = ".sweep"  # in the sweep's folder: the process that runs the sweep
IGNORED = ("sweep_name=", "optimized_metric=")  # change nothing of what a job does

claims: dict[str, Claim] = {}  # of the folders of sweeps that run in this process


def assign_job_folder_name(sweep_dir: str, first: int, overrides: Sequence[str]) -> str:
    """Find or create the job's folder in its sweep, and return its name.

    Hydra resolves this when it starts the job, in whichever process a launcher runs it, and not
    when it composes or prints a configuration. The processes of one job get the same folder.

    Args:
        sweep_dir: folder of the sweep.
        first: the launcher's number of the job, with which the search for a free one begins.
        overrides: of the job.
    """
    wanted = {"overrides": comparable_overrides(overrides)}
    folder = Path(sweep_dir)
    for path in folder.glob(f"[0-9]*/{JOB}"):
        if read_json(path) == wanted:
            return path.parent.name
    # Renaming is atomic and fails if the name is taken, so nobody sees a folder without its file.
    prepared = folder / f".job.{secrets.token_hex(4)}"
    prepared.mkdir(parents=True)
    write_json(prepared / JOB, wanted)
    target = folder / str(first)
    while True:
        try:
            prepared.rename(target)
            return target.name
        except OSError:
            if not target.exists():
                raise
        if read_json(target / JOB) == wanted:  # another process of this job was faster
            shutil.rmtree(prepared)
            return target.name
        target = folder / str(int(target.name) + 1)


def comparable_overrides(overrides: Any) -> list[str]:
    """Return the sorted overrides that identify a job."""
    typed = override_list(overrides) if OmegaConf.is_list(overrides) else overrides
    return sorted(override for override in typed if not override.startswith(IGNORED))


def stored_metrics_of_this_job() -> dict[str, Any] | None:
    """Return this sweep job's stored metrics if an earlier run of it finished, or None."""
    if not project.is_sweep_job():
        return None
    hydra = HydraConfig.get()
    record = read_run(hydra.runtime.output_dir)
    former = comparable_overrides(record.get("overrides", []))
    if former != comparable_overrides(hydra.overrides.task) or record.get("status") != "finished":
        return None
    log.info("Job %s has finished before: its stored result is used", hydra.job.num)
    return record["metrics"]


def optimized_metric_names(cfg: DictConfig) -> list[str]:
    """Return the metric names in `optimized_metric` as a list."""
    names = cfg.get("optimized_metric") or []
    return [name.strip() for name in (names.split(",") if isinstance(names, str) else names)]


def optimized_value(cfg: DictConfig, metrics: Mapping[str, Any]) -> Any:
    """Return the value or values of `optimized_metric`, or None if it is not set.

    Raises:
        ConfigError: if one was not logged.
    """
    names = optimized_metric_names(cfg)
    if missing := ", ".join(name for name in names if name not in metrics):
        raise ConfigError(f"optimized_metric={missing} was not logged, only {', '.join(metrics)}")
    values = tuple(float(metrics[name]) for name in names)
    return values[0] if len(values) == 1 else values or None


class SweepCallback(Callback):
    """Claim the sweep's folder, and print a table of its jobs at the end.

    Hydra reports other exceptions of callbacks than `SystemExit` as warnings.
    """

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Claim the sweep's folder, or exit if another process runs the sweep."""
        if "sweep_name" in config and not config.sweep_name:
            raise SystemExit("Error: sweep_name is empty. Type sweep_name=NAME")
        if "study_name" not in config.hydra.sweeper:
            try:
                claims[config.hydra.sweep.dir] = Claim.acquire(config.hydra.sweep.dir, CLAIM)
            except RunIsActive as error:
                raise SystemExit(f"Error: {error}") from error
        # Hydra 1.3 calls nothing after a job that failed.
        atexit.register(finish_sweep_and_count_jobs, config)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the table of jobs, or exit with an error if there are none."""
        atexit.unregister(finish_sweep_and_count_jobs)
        # Hydra 1.4 calls this after errors as well.
        if not finish_sweep_and_count_jobs(config) and not sys.exc_info()[0]:
            raise SystemExit("Error: the sweep has no jobs: one of its overrides has no values")


def finish_sweep_and_count_jobs(config: DictConfig) -> int:
    """Release the sweep's folder, print a table of its jobs, and return their number."""
    sweep_dir = Path(config.hydra.sweep.dir)
    if claim := claims.pop(config.hydra.sweep.dir, None):
        claim.release()
    runs = report.run_results(run_dirs_and_records_below(sweep_dir))
    if runs:
        metric = next(iter(optimized_metric_names(config)), None)
        report.print_runs(runs, *report.metric_and_mode(runs, metric, None), None)
    if upload := upload_status_after_waiting(sweep_dir):
        print(upload, flush=True)
    return len(runs)
