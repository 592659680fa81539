"""Runs as a table, as CSV files and as a plot."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from src.runtime.sweep.results import Group, Result, Row

LONG = ("best checkpoint", "command")  # columns that no terminal is wide enough for
SMALLER_IS_BETTER = re.compile(r"loss|err|mse|mae|perplexity|nll", re.IGNORECASE)


def criterion(runs: Sequence[Result], metric: str | None, mode: str | None) -> tuple[str, str]:
    """Return the metric to sort by and `max` or `min`, as given or as the runs suggest.

    Raises:
        ValueError: if no run has the metric, or the mode is neither `max` nor `min`.
    """
    chosen, how = _checkpoint_criterion(runs[-1])
    names = sorted({name for run in runs for name in run.metrics})
    if metric is None:
        metric = chosen if chosen in names else next(iter(names), chosen or "")
    elif metric not in names:
        raise ValueError(f"metric={metric}: no run has it. There is {', '.join(names) or 'none'}")
    if mode is None:
        mode = how if metric == chosen else None
    mode = mode or ("min" if SMALLER_IS_BETTER.search(metric) else "max")
    if mode not in ("max", "min"):
        raise ValueError(f"mode={mode} is neither max nor min")
    return metric, mode


def _checkpoint_criterion(run: Result) -> tuple[str | None, str | None]:
    for key, target in run.config.items():
        node, _, name = key.rpartition(".")
        if name == "_target_" and "ModelCheckpoint" in str(target):
            found = [str(run.config.get(f"{node}.{name}")) for name in ("monitor", "mode")]
            metric, mode = (_looked_up(run, value) for value in found)
            return metric, mode
    return None, None


def _looked_up(run: Result, value: str) -> str:
    """Return the value of a simple interpolation, such as `${oc.select:model.monitor,val/acc}`."""
    match = re.fullmatch(r"\$\{(?:oc\.select:)?([\w.]+)(?:,(.*))?\}", value)
    return str(run.config.get(match[1], match[2])) if match else value


def rows(groups: Sequence[Group], keys: Sequence[str], metric: str, mode: str) -> list[Row]:
    """Return a row for each experiment, as text."""
    shown = [metric, *sorted(n for n in _names(groups) if n.startswith("test/") and n != metric)]
    return [
        {"#": str(place)}
        | {key: group.results[0].value(key) for key in keys}
        | {"runs": f"{len(group.finished)}/{len(group.results)}"}
        | {name: group.show(name) for name in shown}
        | {"not finished": ", ".join(sorted({r.status for r in group.results} - {"finished"}))}
        | _best(group, metric, mode)
        for place, group in enumerate(groups, start=1)
    ]


def figures(
    groups: Sequence[Group], keys: Sequence[str], metric: str, mode: str
) -> list[dict[str, Any]]:
    """Return a row for each experiment, as numbers."""
    return [
        {key: group.results[0].value(key) for key in keys}
        | {"runs": len(group.finished)}
        | {f"{name} mean": group.mean(name) for name in _names(groups)}
        | {f"{name} std": group.deviation(name) for name in _names(groups)}
        | _best(group, metric, mode)
        for group in groups
    ]


def each(runs: Sequence[Result], keys: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row for each run, with all of its metrics."""
    names = sorted({name for run in runs for name in run.metrics})
    return [
        {"run": str(run.run_dir), "status": run.status}
        | {key: run.value(key) for key in dict.fromkeys([*keys, "seed"])}
        | {name: run.metrics.get(name) for name in names}
        | {"best checkpoint": run.best_checkpoint, "command": run.command()}
        | {"error": run.record.get("error")}
        for run in runs
    ]


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows that have the same keys."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def draw(path: Path, groups: Sequence[Group], keys: Sequence[str], metric: str) -> bool:
    """Plot a metric over what was varied, with its standard deviation; say whether it was.

    Over the key with the most numbers, a line for each combination of the others; where none is a
    number, a bar for each experiment.
    """
    groups = [group for group in groups if group.values(metric)]
    if not groups:
        return False
    import matplotlib

    matplotlib.use("Agg")  # needs no screen
    from matplotlib import pyplot

    points = [{key: group.results[0].value(key) for key in keys} for group in groups]
    means = [group.mean(metric) or 0.0 for group in groups]
    spreads = [group.deviation(metric) or 0.0 for group in groups]
    numeric = [k for k in keys if all(_is_number(point[k]) for point in points)]
    x_key = max(numeric, key=lambda k: len({point[k] for point in points}), default=None)
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    if x_key is None:
        labels = [", ".join(point.values()) or "all" for point in points]
        axes.barh(range(len(groups)), means, xerr=spreads, tick_label=labels, capsize=3)
        axes.invert_yaxis()
        axes.set_xlabel(metric)
    else:
        lines: dict[str, list[tuple[float, float, float]]] = {}
        for point, mean, spread in zip(points, means, spreads, strict=True):
            name = ", ".join(f"{key}={value}" for key, value in point.items() if key != x_key)
            lines.setdefault(name, []).append((float(point[x_key]), mean, spread))
        for name, line in lines.items():
            x, y, error = zip(*sorted(line), strict=True)
            axes.errorbar(x, y, yerr=error, label=name, marker="o", capsize=3)
        values = sorted({float(point[x_key]) for point in points})
        if values[0] > 0 and values[-1] / values[0] >= 10:
            axes.set_xscale("log")
        axes.set(xlabel=x_key, ylabel=metric)
        if len(lines) > 1:
            axes.legend()
    figure.savefig(path, dpi=150)
    return True


def _best(group: Group, metric: str, mode: str) -> Row:
    best = group.best(metric, mode)
    return {"best checkpoint": best.best_checkpoint, "command": best.command()}


def _names(groups: Sequence[Group]) -> list[str]:
    return sorted({name for group in groups for run in group.results for name in run.metrics})


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
