"""Compare runs by what their folders record: replicates, table, rows for programs, curves.

Imports no torch, and keeps a few keys of each run: there may be ten thousand.
"""

import csv
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from src.runtime.mlflow_run import METRICS, read_rows

KEPT = ("status", "started", "monitor", "mode", "best_value", "best_checkpoint", "error")
IGNORED_WHEN_GROUPING = ("seed=", "data.fold=")  # runs that differ in these are replicates
NOT_SHOWN = ("sweep_name=", "optimized_metric=", "ckpt_path=", "paths.", "hydra.", "hydra/")
SMALLER_IS_BETTER = re.compile(r"loss|err|mse|mae|perplexity|nll", re.IGNORECASE)


class Run(NamedTuple):
    """What the comparison needs of one run; `record` has the keys `KEPT`."""

    folder: Path
    overrides: list[str]
    metrics: dict[str, float]
    record: dict[str, Any]

    def value(self, metric: str) -> float | None:
        """Return a metric at the end of the run; of the monitored one the best value."""
        best = self.record["best_value"] if metric == self.record["monitor"] else None
        return self.metrics.get(metric) if best is None else best


def read_runs(records: Iterable[tuple[Path, Mapping[str, Any]]]) -> list[Run]:
    """Return the runs with these folders and records, in the order of their names."""
    runs = []
    for folder, record in records:
        kept = {key: record.get(key) for key in KEPT}
        runs.append(Run(folder, record.get("overrides", []), record.get("metrics", {}), kept))
    return sorted(runs, key=lambda run: (len(run.folder.name), run.folder.name))


def choose_metric(runs: Sequence[Run], metric: str | None, mode: str | None) -> tuple[str, str]:
    """Return the metric to compare, and whether its `max` or `min` is best.

    Without `metric`, the one that the newest run monitored, else one that was recorded.
    """
    newest = runs[-1].record
    chosen = metric or newest["monitor"] or next(iter(metric_names(runs)), "metric")
    monitored = newest["mode"] if chosen == newest["monitor"] else None
    return chosen, mode or monitored or ("min" if SMALLER_IS_BETTER.search(chosen) else "max")


def metric_names(runs: Iterable[Run]) -> list[str]:
    """Return the names of all metrics that the runs recorded, those of validation first."""
    names = {name for run in runs for name in run.metrics}
    return sorted(names, key=lambda name: (not name.startswith("val"), name))


def group_replicates(runs: Iterable[Run], metric: str, mode: str) -> list[list[Run]]:
    """Return the runs in groups that differ in seed or fold only, the best group first.

    Runs without seed and fold are groups of their own.
    """
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        kept = tuple(o for o in sorted(run.overrides) if not o.startswith(IGNORED_WHEN_GROUPING))
        is_replicate = len(kept) < len(run.overrides)
        groups.setdefault(kept if is_replicate else run.folder, []).append(run)

    def rank(group: Sequence[Run]) -> float:
        values = numbers(group, metric)
        sign = -1 if mode == "max" else 1
        return sign * statistics.fmean(values) if values else math.inf

    return sorted(groups.values(), key=rank)


def numbers(group: Iterable[Run], metric: str) -> list[float]:
    """Return the values of a metric in a group, without NaN and runs that have none."""
    values = (run.value(metric) for run in group)
    return [value for value in values if value is not None and not math.isnan(value)]


def print_runs(runs: Sequence[Run], metric: str, mode: str, top: int | None = None) -> list[Run]:
    """Print the best runs as a table, and what failed; return the runs of the table."""
    from rich import box, console, table  # not at the start of each command

    groups = group_replicates(runs, metric, mode)
    shown = groups[:top]
    columns = (table.Column("run", no_wrap=True), table.Column("what differs", overflow="fold"))
    rows = table.Table(*columns, metric, "status", box=box.SIMPLE_HEAD, pad_edge=False)
    differences = describe_differences([group[0] for group in shown])
    for group, difference in zip(shown, differences, strict=True):
        name = group[0].folder.name if len(group) == 1 else f"{len(group)} runs"
        values = numbers(group, metric)
        text = f"{statistics.fmean(values):.5g}" if values else ""
        if len(values) > 1:
            text += f" ± {statistics.stdev(values):.2g}"
        statuses = dict.fromkeys(run.record["status"] for run in group)
        rows.add_row(name, difference, text, ", ".join(statuses))
    console.Console(markup=False, emoji=False, highlight=False).print(rows)
    if len(groups) > len(shown):
        print(f"{len(groups) - len(shown)} more: top={len(groups)}, or csv=runs.csv")
    for run in [run for run in runs if run.record["error"]][:5]:
        print(f"{run.folder.name} {run.record['status']}: {run.record['error']}")
    if numbers(shown[0], metric):
        print(f"Best: {shown[0][0].folder}")
    return [run for group in shown for run in group]


def describe_differences(runs: Sequence[Run]) -> list[str]:
    """Return for each run the overrides that tell it apart: `lr=0.1 net=cnn`."""
    shared = set(runs[0].overrides).intersection(*(run.overrides for run in runs))
    texts = []
    for run in runs:
        own = [o for o in run.overrides if o not in shared and not o.startswith(NOT_SHOWN)]
        ends = [re.split("[./]", override.partition("=")[0])[-1] for override in own]
        for number, override in enumerate(own):
            if ends.count(ends[number]) == 1:
                own[number] = f"{ends[number]}={override.partition('=')[2]}"
        # Four digits of a drawn number suffice.
        texts.append(re.sub(r"(\.0*\d{4})\d+", r"\1", " ".join(own)))
    return texts


def flat_rows(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Return a row for each run, for programs: its folder, record, overrides and metrics."""
    rows = []
    for run in runs:
        values = dict(override.split("=", 1) for override in run.overrides if "=" in override)
        metrics = {k: v if math.isfinite(v) else str(v) for k, v in run.metrics.items()}  # JSON
        rows.append({"run": str(run.folder)} | run.record | values | metrics)
    return rows


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows, with a column for each key that any of them has."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


def plot_curves(path: Path, runs: Sequence[Run], metric: str) -> bool:
    """Draw the metric of each run over its steps; return False if there is nothing to draw."""
    from matplotlib.figure import Figure  # takes a second

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for run, difference in zip(runs, describe_differences(runs), strict=True):
        logged = (row for row, _ in read_rows(run.folder / METRICS) if "metrics" in row)
        points = [(r["step"], r["metrics"][metric]) for r in logged if metric in r["metrics"]]
        if points:
            steps, values = zip(*points, strict=True)
            axes.plot(steps, values, marker=".", label=difference or run.folder.name)
    if axes.lines:
        axes.set(xlabel="step", ylabel=metric)
        axes.legend(fontsize="small")
        figure.savefig(path, dpi=130)
    return bool(axes.lines)
