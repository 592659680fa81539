"""Compare runs by what their folders record: replicates, table, rows for programs, curves.

Imports no torch, and keeps a few keys of each run: there may be ten thousand.
"""

import csv
import json
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

KEPT = ("status", "started", "monitor", "mode", "best_value", "best_checkpoint", "error")
IGNORED_WHEN_GROUPING = ("seed=", "data.fold=")  # runs that differ in these are replicates
NOT_SHOWN = ("sweep_name=", "optimized_metric=", "ckpt_path=", "paths.", "hydra.", "hydra/")
SMALLER_IS_BETTER = re.compile(r"loss|err|mse|mae|perplexity|nll", re.IGNORECASE)
UNITS = {"d": 86400, "h": 3600, "min": 60, "s": 1}
LONGEST_CELL, SHORTEST_CELL = 60, 6  # characters
MOST_ERRORS = 5


@dataclass(slots=True)
class Run:
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


def choose_metric(
    runs: Sequence[Run], metric: str | None = None, mode: str | None = None
) -> tuple[str, str]:
    """Return the metric to compare, and whether its `max` or `min` is best.

    Without `metric`, the one that the newest run monitored, else one that was recorded.
    """
    newest = runs[-1].record
    chosen = metric or newest["monitor"] or next(iter(metric_names(runs)), "metric")
    if mode is None and chosen == newest["monitor"]:
        mode = newest["mode"]
    if mode is None:
        mode = "min" if SMALLER_IS_BETTER.search(chosen) else "max"
    return chosen, mode


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
        kept = [o for o in run.overrides if not o.startswith(IGNORED_WHEN_GROUPING)]
        is_replicate = len(kept) < len(run.overrides)
        key = tuple(sorted(kept)) if is_replicate else run.folder
        groups.setdefault(key, []).append(run)

    def rank(group: Sequence[Run]) -> float:
        values = numbers(group, metric)
        sign = -1 if mode == "max" else 1
        return sign * statistics.fmean(values) if values else math.inf

    return sorted(groups.values(), key=rank)


def numbers(group: Iterable[Run], metric: str) -> list[float]:
    """Return the values of a metric in a group, without NaN and runs that have none."""
    values = (run.value(metric) for run in group)
    return [value for value in values if value is not None and not math.isnan(value)]


def job_rows(groups: Sequence[Sequence[Run]], metric: str) -> list[dict[str, str]]:
    """Return a row for each group: run, what differs, metric, status and age."""
    differences = describe_differences([group[0] for group in groups])
    rows = []
    for group, difference in zip(groups, differences, strict=True):
        values = numbers(group, metric)
        deviation = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
        statuses = [str(run.record["status"]) for run in group]
        counts = [f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses)]
        row = {
            "run": group[0].folder.name if len(group) == 1 else f"{len(group)} runs",
            "what differs": difference,
            metric: f"{statistics.fmean(values):.5g}{deviation}" if values else "",
            "status": ", ".join(counts) if len(counts) > 1 else statuses[0],
            "age": age(max(run.record["started"] or "" for run in group)),
        }
        rows.append(row)
    return rows


def describe_differences(runs: Sequence[Run]) -> list[str]:
    """Return for each run the overrides that tell it apart: `lr=0.1 net=cnn`."""
    shared = set(runs[0].overrides).intersection(*(run.overrides for run in runs))
    texts = []
    for run in runs:
        own = [o for o in run.overrides if o not in shared and not o.startswith(NOT_SHOWN)]
        pairs = [override.partition("=")[::2] for override in own]
        ends = [re.split("[./]", key)[-1] for key, _ in pairs]
        words = [
            f"{end if ends.count(end) == 1 else key}={value}"
            for end, (key, value) in zip(ends, pairs, strict=True)
        ]
        text = " ".join(words)
        texts.append(re.sub(r"(\.0*\d{4})\d+", r"\1", text))  # four digits of a drawn number
    return texts


def age(started: str) -> str:
    """Return how long ago an ISO 8601 time was, in its largest unit."""
    if not started:
        return ""
    past = datetime.now().astimezone() - datetime.fromisoformat(started)
    seconds = max(past.total_seconds(), 0)
    unit = next((unit for unit, length in UNITS.items() if seconds >= length), "s")
    return f"{seconds // UNITS[unit]:.0f} {unit}"


def shorten(text: str, width: int) -> str:
    """Return a text of at most `width` characters, its middle left out."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[-end:]}"


def print_table(rows: Sequence[Mapping[str, str]]) -> None:
    """Print rows, at most as wide as the terminal; columns of one value are left out."""
    from rich import box  # not at the start of each command
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    columns = []
    for title in rows[0]:
        cells = [row[title] for row in rows]
        if title == "run" or len(set(cells)) > 1 or (len(rows) == 1 and cells[0]):
            columns.append([title, *cells])
    for limit in range(LONGEST_CELL, SHORTEST_CELL, -1):
        widths = [min(max(map(len, column)), limit) + 3 for column in columns]  # and its edges
        if sum(widths) < console.width:
            break
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    for title, *_ in columns:
        table.add_column(Text(shorten(title, limit)), no_wrap=True)
    for line in list(zip(*columns, strict=True))[1:]:
        table.add_row(*(Text(shorten(cell, limit)) for cell in line))
    console.print(table)


def print_runs(runs: Sequence[Run], metric: str, mode: str, top: int | None = None) -> list[Run]:
    """Print the best runs as a table, and what failed; return the runs of the table."""
    groups = group_replicates(runs, metric, mode)
    shown = groups[:top]
    print_table(job_rows(shown, metric))
    if len(groups) > len(shown):
        print(f"{len(groups) - len(shown)} more: top={len(groups)}, or csv=runs.csv")
    failed = [run for run in runs if run.record["error"]]
    for run in failed[:MOST_ERRORS]:
        print(f"{run.folder.name} {run.record['status']}: {run.record['error']}")
    if numbers(shown[0], metric):
        print(f"Best: {shown[0][0].folder}")
    return [run for group in shown for run in group]


def flat_rows(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Return a row for each run, for programs: its folder, record, overrides and metrics."""
    rows = []
    for run in runs:
        row: dict[str, Any] = {"run": str(run.folder)} | run.record
        row |= dict(override.split("=", 1) for override in run.overrides if "=" in override)
        for name, value in run.metrics.items():
            row[name] = value if math.isfinite(value) else str(value)  # JSON has no NaN
        rows.append(row)
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
        points = read_curve(run.folder / "metrics.jsonl", metric)
        if points:
            label = shorten(difference or run.folder.name, LONGEST_CELL)
            axes.plot(*zip(*points, strict=True), label=label, marker=".")
    if not axes.lines:
        return False
    axes.set(xlabel="step", ylabel=metric)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=130)
    return True


def read_curve(path: Path, metric: str) -> list[tuple[int, float]]:
    """Return steps and values of a metric in a `metrics.jsonl`."""
    points = []
    if path.exists():
        with path.open(encoding="utf-8") as file:
            for line in file:  # parse no others: there may be a million
                if f'"{metric}"' in line and line.endswith("\n"):
                    entry = json.loads(line)
                    if metric in entry.get("metrics", {}):
                        points.append((entry["step"], entry["metrics"][metric]))
    return points
