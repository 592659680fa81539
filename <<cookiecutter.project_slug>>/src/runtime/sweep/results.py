"""What runs have measured, side by side: read from their folders, without importing torch."""

import json
import shlex
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from src.runtime import record
from src.runtime.config.plain_config import flatten

Row = dict[str, str]

# Two runs that differ in nothing else are the same experiment.
BESIDE_THE_POINT = {
    *("seed", "paths", "tags", "task_name", "sweep_name", "optimized_metric", "ckpt_path"),
    *("logger", "hydra"),
}


@dataclass
class Result:
    """One run: how it was asked for, how it ended, and with which metrics."""

    run_dir: Path
    overrides: list[str]
    record: dict[str, Any]

    @classmethod
    def read(cls, run_dir: Path, overrides: Sequence[str] | None = None) -> "Result":
        """Read a run's folder; `overrides` stand for those of a run that wrote none yet."""
        known = record.read(run_dir) or {}
        return cls(run_dir, list(overrides or known.get("overrides", [])), known)

    @property
    def status(self) -> str:
        """One of `finished`, `failed`, `killed`, `running`; or `left`, if it never began."""
        return self.record.get("status", "left")

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics by name, as far as the run came."""
        return self.record.get("metrics", {})

    @property
    def best_checkpoint(self) -> str:
        """Path of the best checkpoint, or nothing."""
        best = self.record.get("best_checkpoint")
        return str(self.run_dir / best) if best else ""

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration as Hydra composed it, interpolations unresolved, with dotted keys."""
        path = self.run_dir / ".hydra" / "config.yaml"
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times faster, if it is there
        return flatten(yaml.load(path.read_bytes(), loader)) if path.exists() else {}

    @cached_property
    def experiment(self) -> str:
        """What is the same for all seeds of an experiment, and for no other."""
        values: Mapping[str, Any] = self.config or settings(self.overrides)
        kept = {k: v for k, v in values.items() if k.split(".")[0] not in BESIDE_THE_POINT}
        return json.dumps(kept, sort_keys=True, default=str)

    def value(self, key: str) -> str:
        """Return what an override set, or what the configuration says in its place, or nothing."""
        given = settings(self.overrides).get(key)
        return str(self.config.get(key, "")) if given is None else given

    def command(self) -> str:
        """Return the command that does this run again, alone."""
        left_out = ("sweep_name", "hydra.")
        own = [
            o
            for o in self.overrides
            if not o.startswith(left_out) and not o.startswith(f"ckpt_path='{self.run_dir}")
        ]
        return shlex.join(["python", f"src/{self.record.get('task', 'train')}.py", *own])


def settings(overrides: Iterable[str]) -> dict[str, str]:
    """Return overrides as keys and values: `{"model.optimizer.lr": "0.1"}`."""
    pairs = (o.lstrip("+~").partition("=") for o in overrides)
    return {key: value for key, _, value in pairs}


def varied(results: Sequence[Result]) -> list[str]:
    """Return the keys that tell runs apart, as they were typed; then, if need be, others."""
    typed = dict.fromkeys(key for result in results for key in settings(result.overrides))
    keys = [key for key in typed if key.split(".")[0] not in BESIDE_THE_POINT]
    keys = [key for key in keys if len({result.value(key) for result in results}) > 1]
    alike: dict[tuple[str, ...], dict[str, Result]] = {}
    for result in results:
        cells = tuple(result.value(key) for key in keys)
        alike.setdefault(cells, {})[result.experiment] = result
    for several in alike.values():  # YAML files were edited between these
        flat = [json.loads(experiment) for experiment in several]
        for key in dict.fromkeys(key for values in flat for key in values):
            if key not in keys and len({str(values.get(key)) for values in flat}) > 1:
                keys.append(key)
    return keys


def table(results: Sequence[Result], metrics: Sequence[str]) -> list[Row]:
    """Return a row for each run: its folder's name, what was varied, how it ended, and why."""
    seeds = {result.value("seed") for result in results}
    keys = varied(results) + ["seed"] * (len(seeds) > 1)
    return [
        {"job": result.run_dir.name}
        | {key: result.value(key) for key in keys}
        | {"status": result.status}
        | {name: _number(result.metrics.get(name)) for name in metrics}
        | {"error": result.record.get("error") or ""}
        for result in results
    ]


@dataclass
class Group:
    """The runs of one experiment, which differ in their seed at most."""

    results: list[Result]

    @property
    def finished(self) -> list[Result]:
        """Those that count."""
        return [result for result in self.results if result.status == "finished"]

    def values(self, metric: str) -> list[float]:
        """Return a metric of each finished run that has it."""
        return [r.metrics[metric] for r in self.finished if metric in r.metrics]

    def mean(self, metric: str) -> float | None:
        """Return the mean over the finished runs, or None if there is none."""
        values = self.values(metric)
        return statistics.fmean(values) if values else None

    def deviation(self, metric: str) -> float | None:
        """Return the standard deviation of the sample, or None for less than two runs."""
        values = self.values(metric)
        return statistics.stdev(values) if len(values) > 1 else None

    def best(self, metric: str, mode: str) -> Result:
        """Return the run with the best value of a metric, or the first one."""
        choose = max if mode == "max" else min
        measured = [r for r in self.finished if metric in r.metrics]
        return choose(measured, key=lambda r: r.metrics[metric], default=self.results[0])

    def show(self, metric: str) -> str:
        """Return a metric as text: mean and standard deviation, if there are several runs."""
        deviation = self.deviation(metric)
        spread = "" if deviation is None else f" ± {deviation:.2g}"
        return _number(self.mean(metric)) + spread


def grouped(results: Iterable[Result], metric: str, mode: str) -> list[Group]:
    """Return the experiments among runs, the best by the mean of a metric first."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.experiment, []).append(result)

    def rank(group: Group) -> tuple[bool, float]:
        mean = group.mean(metric)
        return mean is None, (mean or 0.0) * (-1 if mode == "max" else 1)

    return sorted((Group(results) for results in groups.values()), key=rank)


def read_all(folder: Path) -> Iterator[Result]:
    """Yield the runs in a folder, in the order of their names, numbers as numbers."""
    paths = (path for path in folder.iterdir() if (path / record.FILE).exists())
    for path in sorted(paths, key=lambda p: (len(p.name) if p.name.isdecimal() else 0, p.name)):
        yield Result.read(path)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5g}"
