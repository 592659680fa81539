"""Compare runs by what their folders record: replicates, table, rows for programs, curves.

Imports no torch, and keeps a few keys of each run: there may be ten thousand.
"""

import csv
import math
import re
import statistics
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from src.runtime.mlflow_run import METRICS, read_rows_with_offsets
from src.runtime.overrides import SHORT_GROUPS

KEPT = ("status", "started", "monitor", "mode", "best_checkpoint", "error")
IGNORED_WHEN_GROUPING = ("seed=", "data.fold=")  # runs that differ in these are replicates
HALF = 15  # characters: of a longer override or name, the table shows as many of both ends


class RunResult(NamedTuple):
    """Overrides, metrics and table row of a run."""

    folder: Path
    overrides: list[str]
    metrics: dict[str, float]  # at its end, and the best value of the monitored one
    row: dict[str, Any]  # for programs: folder, what `KEPT` names, overrides, metrics


def run_results(records: Iterable[tuple[Path, dict[str, Any]]]) -> list[RunResult]:
    """Return a `RunResult` for each run, sorted by folder."""
    runs = []
    for folder, record in records:
        metrics = record.get("metrics", {})
        if record.get("best_value") is not None:
            metrics[record["monitor"]] = record["best_value"]
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        overrides = record.get("overrides", [])
        row = {"run": str(folder)} | dict(override.partition("=")[::2] for override in overrides)
        row |= {key: record.get(key) or "" for key in KEPT}
        runs.append(RunResult(folder, overrides, finite, row | finite))
    return sorted(runs)


def metric_and_mode(runs: list[RunResult], metric: str | None, mode: str | None) -> tuple[str, str]:
    """Return the metric to compare and its mode, `min` or `max`.

    Without `metric`, the one that was monitored last, else one that was recorded.
    """
    last = ([r for r in runs if r.row["monitor"]] or [r for r in runs if r.metrics] or runs)[-1]
    metric = metric or last.row["monitor"] or max(last.metrics, default="metric")
    if metric == last.row["monitor"]:
        mode = mode or last.row["mode"]
    return metric, mode or ("min" if "loss" in metric else "max")


def group_replicates(runs: list[RunResult]) -> list[list[RunResult]]:
    """Group runs that differ only in seed or fold.

    Runs without seed and fold are groups of their own.
    """
    groups: dict[Any, list[RunResult]] = {}
    for run in runs:
        key = {o for o in run.overrides if not o.startswith(IGNORED_WHEN_GROUPING)}
        if len(key) == len(run.overrides):
            key.add(str(run.folder))
        groups.setdefault(frozenset(key), []).append(run)
    return list(groups.values())


def groups_best_first(runs: list[RunResult], metric: str, mode: str) -> list[list[RunResult]]:
    """Return the groups of replicates, sorted by the mean of a metric, each with its best first."""
    worst = -math.inf if mode == "max" else math.inf

    def mean(group: list[RunResult]) -> float:
        return statistics.fmean(metric_values(group, metric) or [worst])

    best_first = sorted(runs, key=lambda run: mean([run]), reverse=mode == "max")
    return sorted(group_replicates(best_first), key=mean, reverse=mode == "max")


def metric_values(runs: list[RunResult], metric: str) -> list[float]:
    """Return the values of a metric in the runs that recorded it."""
    return [run.metrics[metric] for run in runs if metric in run.metrics]


def print_runs(runs: list[RunResult], metric: str, mode: str, top: int | None) -> None:
    """Print a table of the best runs, with a row for each group of replicates.

    A column that says the same in each row is left out.
    """
    from rich import box, console, table  # not at the start of each command

    groups = groups_best_first(runs, metric, mode)
    shown = groups[:top]
    differences = unshared_override_texts([group[0] for group in shown])
    rows = [cell_texts(*row, metric) for row in zip(shown, differences, strict=True)]
    distinct = min(2, len(rows))  # cells that a column needs; a single row is shown whole
    kept = [k for k in rows[0] if k in ("run", metric) or len({r[k] for r in rows}) >= distinct]
    printed = table.Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in kept:
        printed.add_column(name, no_wrap=name != "what differs", overflow="fold")
    for row in rows:
        printed.add_row(*(row[name] for name in kept))
    console.Console(markup=False, emoji=False).print(printed)
    for run in runs:
        if error := run.row["error"]:
            print(f"{run.folder.name} {run.row['status']}: {error[:200]}")
    if rest := len(groups) - len(shown):
        print(rest, "more: a larger top=, or csv=runs.csv")
    print("Best:", shown[0][0].folder)


def cell_texts(group: list[RunResult], difference: str, metric: str) -> dict[str, str]:
    """Return the cells of a row of the table, by column."""
    values = metric_values(group, metric)
    mean = f"{statistics.fmean(values):.5g}" if values else ""
    if len(values) > 1:
        mean += f" ± {statistics.stdev(values):.2g}"
    started = max(run.row["started"] for run in group)
    name = re.sub("_[0-9a-f]{8}$", "", group[0].folder.name)  # of a run: its time
    return {
        "run": shorten_middle(name) if len(group) == 1 else f"{len(group)} runs",
        "what differs": difference,
        metric: mean,
        "status": "\n".join(sorted({run.row["status"] for run in group})),
        "age": started and age_text(started),
    }


def unshared_override_texts(runs: list[RunResult]) -> list[str]:
    """Return one text per run: its overrides, except seeds and what all runs with results share."""
    shared = set.intersection(*([set(run.overrides) for run in runs if run.metrics] or [set()]))
    texts = []
    for run in runs:
        own = [o for o in run.overrides if not (o in shared or o.startswith(IGNORED_WHEN_GROUPING))]
        texts.append(" ".join(map(shorten_middle, own)))
    return texts


def shorten_middle(text: str) -> str:
    """Return an override or a name with short group names, and without a long middle."""
    for short, full in SHORT_GROUPS.items():
        text = text.replace(f"{full}=", f"{short}=")
    return text if len(text) <= 2 * HALF else f"{text[:HALF]}…{text[-HALF:]}"


def age_text(started: str) -> str:
    """Return how long ago an ISO 8601 time was, in minutes or days."""
    age = datetime.now().astimezone() - datetime.fromisoformat(started)
    return f"{age.days} d" if age.days else f"{age.seconds // 60} min"


def write_csv(path: str | Path, rows: list[dict[str, Any]]) -> None:
    """Write rows to a CSV file, with a column for each key."""
    columns = dict.fromkeys(key for row in rows for key in row)
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        writer.writerows(rows)


def plot_curves(path: Path, runs: list[RunResult], metric: str) -> None:
    """Save a plot of a metric over steps, with one curve per run."""
    from matplotlib.figure import Figure  # takes a second

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for run, text in zip(runs, unshared_override_texts(runs), strict=True):
        rows = [row for row, _ in read_rows_with_offsets(run.folder / METRICS) if row]
        points = {row["step"]: row["metrics"][metric] for row in rows if metric in row["metrics"]}
        label = f"{run.folder.name} {text}"[:40].replace("$", r"\$")  # no formula
        axes.plot(list(points), list(points.values()), marker=".", label=label)
    axes.set(xlabel="step", ylabel=metric)
    figure.legend(loc="outside right upper", fontsize="small")
    figure.savefig(path)
