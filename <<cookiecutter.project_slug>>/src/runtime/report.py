"""Compare runs by what their folders record: replicates, table, rows for programs, curves.

Imports no torch, and keeps a few keys of each run: there may be ten thousand.
"""

import csv
import math
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from src.runtime.mlflow_run import METRICS, read_rows

KEPT = ("status", "started", "monitor", "mode", "best_checkpoint", "error")
IGNORED_WHEN_GROUPING = ("seed=", "data.fold=")  # runs that differ in these are replicates


class Run(NamedTuple):
    """What the comparison needs of one run."""

    folder: Path
    overrides: list[str]
    metrics: dict[str, float]  # at its end, and the best value of the monitored one
    row: dict[str, Any]  # for programs: folder, what `KEPT` names, overrides, metrics


def read_runs(records: Iterable[tuple[Path, dict[str, Any]]]) -> list[Run]:
    """Return the runs with these folders and records, in the order of their names."""
    runs = []
    for folder, record in records:
        metrics = record.get("metrics", {})
        if record.get("best_value") is not None:
            metrics[record["monitor"]] = record["best_value"]
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        overrides = record.get("overrides", [])
        row = {"run": str(folder)}
        for override in overrides:
            key, _, value = override.partition("=")
            row[key] = value
        for key in KEPT:
            row[key] = record.get(key) or ""
        runs.append(Run(folder, overrides, finite, row | finite))
    return sorted(runs)


def choose_metric(runs: list[Run], metric: str | None, mode: str | None) -> tuple[str, str]:
    """Return the metric to compare, and whether its `max` or `min` is best.

    Without `metric`, the one that the last run monitored, else one that was recorded.
    """
    last = runs[-1].row
    metric = metric or last["monitor"] or max(metric_names(runs), default="metric")
    if metric == last["monitor"]:
        mode = mode or last["mode"]
    if mode is None:
        mode = "min" if "loss" in metric else "max"
    return metric, mode


def metric_names(runs: list[Run]) -> list[str]:
    """Return the names of all metrics that the runs recorded."""
    return sorted({name for run in runs for name in run.metrics})


def group_replicates(runs: list[Run]) -> list[list[Run]]:
    """Return the runs in groups that differ in seed or fold only.

    Runs without seed and fold are groups of their own.
    """
    groups: dict[Any, list[Run]] = {}
    for run in runs:
        key = {o for o in run.overrides if not o.startswith(IGNORED_WHEN_GROUPING)}
        if len(key) == len(run.overrides):
            key.add(str(run.folder))
        groups.setdefault(frozenset(key), []).append(run)
    return list(groups.values())


def print_runs(runs: list[Run], metric: str, mode: str, top: int | None) -> list[Run]:
    """Print the `top` best runs as a table, mean and deviation of replicates; return its runs."""
    from rich import box, console, table  # not at the start of each command

    results = []
    for group in group_replicates(runs):
        values = [run.metrics[metric] for run in group if metric in run.metrics]
        worst = -math.inf if mode == "max" else math.inf
        mean = statistics.fmean(values) if values else worst
        results.append((mean, values, group))
    results.sort(key=lambda result: result[0], reverse=mode == "max")
    shown = results[:top]
    firsts = [group[0] for _, _, group in shown]
    columns = ("run", "what differs", metric, "status")
    rows = table.Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    rows.columns[0].no_wrap = True
    rows.columns[1].overflow = "fold"
    for (mean, values, group), difference in zip(shown, describe_differences(firsts), strict=True):
        name, text = group[0].folder.name, ""
        if len(group) > 1:
            name = f"{len(group)} runs"
        if values:
            text = f"{mean:.5g}"
        if len(values) > 1:
            text += f" ± {statistics.stdev(values):.2g}"
        statuses = {f"{run.row['status']} {run.row['error']}".strip() for run in group}
        rows.add_row(name, difference, text, "\n".join(sorted(statuses)))
    console.Console(markup=False, emoji=False).print(rows)
    if len(results) > len(shown):
        print(len(results) - len(shown), "more: a larger top=, or csv=runs.csv")
    print("Best:", firsts[0].folder)
    return [run for _, _, group in shown for run in group]


def describe_differences(runs: list[Run]) -> list[str]:
    """Return for each run the overrides that tell it apart: `model/net=cnn data.size=3`."""
    shared = set.intersection(*(set(run.overrides) for run in runs))
    texts = []
    for run in runs:
        own = [override for override in run.overrides if override not in shared]
        texts.append(" ".join(own))
    return texts


def write_csv(path: str | Path, rows: list[dict[str, Any]]) -> None:
    """Write rows, with a column for each key that any of them has."""
    columns = dict.fromkeys(key for row in rows for key in row)
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        writer.writerows(rows)


def plot_curves(path: Path, runs: list[Run], metric: str) -> None:
    """Draw the metric of each run over its steps."""
    from matplotlib.figure import Figure  # takes a second

    figure = Figure()
    axes = figure.subplots()
    for run in runs:
        points = {}
        for row, _ in read_rows(run.folder / METRICS):
            if metric in row.get("metrics", {}):
                points[row["step"]] = row["metrics"][metric]
        axes.plot(list(points), list(points.values()), marker=".", label=run.folder.name)
    axes.set(xlabel="step", ylabel=metric)
    axes.legend()
    figure.savefig(path)
