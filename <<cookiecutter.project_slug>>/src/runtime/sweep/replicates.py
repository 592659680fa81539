"""Mean and standard deviation over the jobs of a sweep that differ in fold or seed alone."""

import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from src.runtime import record

VARIED = ("data.fold=", "seed=")


class Replicates(Callback):
    """Print a line for each setting that a sweep tried more than once."""

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Read what the jobs recorded, wherever they ran."""
        groups: dict[str, list[dict[str, float]]] = defaultdict(list)
        varied = False
        for path in sorted(Path(config.hydra.sweep.dir).glob(f"*/{record.FILE}")):
            job = record.read(path.parent)
            if job and job.get("status") == "finished":
                setting = [o for o in job["overrides"] if not o.startswith(VARIED)]
                varied = varied or len(setting) < len(job["overrides"])
                groups[" ".join(setting)].append(job["metrics"])
        from rich.console import Console  # takes a while, and every start loads this module

        for setting, jobs in groups.items():
            if varied and len(jobs) > 1:
                Console(soft_wrap=True).print(
                    f"{len(jobs)} runs of \\[{setting}]: {summary(jobs)}", highlight=False
                )


def summary(jobs: list[dict[str, float]]) -> str:
    """Return `name mean ± standard deviation` of each metric that all jobs have."""
    names = sorted(set.intersection(*(set(job) for job in jobs)))
    parts = []
    for name in names:
        values = [job[name] for job in jobs]
        parts.append(f"{name} {statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}")
    return ", ".join(parts)
