"""The jobs of a sweep: their numbers, and what each leaves in its folder."""

import json
import logging
import os
import socket
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import TaskFunction
from omegaconf import DictConfig, open_dict, read_write

from src.runtime import cli, record
from src.runtime.config.plain_config import as_typed

log = logging.getLogger(__name__)

INDEX = "sweep.json"
BESIDE_THE_POINT = ("sweep_name", "optimized_metric")  # change nothing of what a job does

asked: defaultdict[Path, list[int]] = defaultdict(list)  # numbers that this process gave, by sweep


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
            if cli.is_told(error):
                from src.runtime.config import errors  # every start loads this module

                log.error("%s", errors.explain(error))
            else:
                log.error("%s", error, exc_info=True)
            known = record.read(run_dir) or {}
            is_told = known.get("status") == "failed" and known["ended"] >= started
            if not is_told and known.get("status") != "running":  # by another process
                fresh = {"started": started, "resumed": 0, "metrics": {}, "best_checkpoint": None}
                now = {
                    "status": "failed",
                    "task": cfg.task_name,
                    "ended": _now(),
                    "host": socket.gethostname(),
                    "pid": os.getpid(),
                    "overrides": as_typed(job.overrides.task),
                    "error": f"{type(error).__name__}: {line}",
                }
                record.write(run_dir, fresh | known | now)
            raise


def numbers(sweep_dir: Path, job_overrides: Sequence[Sequence[str]]) -> list[int]:
    """Return the number of each job, and write down those of new jobs."""
    path = sweep_dir / INDEX
    jobs = read(sweep_dir)
    found: list[int] = []
    given = asked[sweep_dir]
    for overrides in job_overrides:
        key = sorted(o for o in overrides if o.split("=")[0] not in BESIDE_THE_POINT)
        # A job that comes up twice is two jobs: a sampler may have its reasons.
        known = [n for n, job in jobs.items() if job == key and n not in given]
        taken = [int(p.name) for p in sweep_dir.iterdir() if p.name.isdecimal()]
        number = known[0] if known else max([-1, *jobs, *taken]) + 1
        jobs[number] = key
        found.append(number)
        given.append(number)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(json.dumps({"jobs": jobs}, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return found


def read(sweep_dir: Path) -> dict[int, list[str]]:
    """Return the overrides of each job of a sweep, by number; none where there is no sweep."""
    try:
        index = json.loads((sweep_dir / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return {int(number): overrides for number, overrides in index["jobs"].items()}


def summary(sweep_dir: Path) -> str:
    """Return how many of the jobs that were asked for are done, failed and left."""
    status = [(record.read(sweep_dir / str(n)) or {}).get("status") for n in asked[sweep_dir]]
    done, failed = status.count("finished"), status.count("failed")
    left = len(status) - done - failed
    return f"sweep {sweep_dir.name}: {done} done, {failed} failed, {left} left"


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="milliseconds")
