"""What a run shows on the terminal: its configuration at the start, its results at the end."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from src.runtime.config.plain_config import flatten
from src.runtime.process import ranks

_shown: dict[str, Any] = {}  # what this process printed last, keys joined by dots


def print_config(plain: dict[str, Any]) -> None:
    """Print a configuration as a tree, on rank 0.

    Of a further one in this process, that of a sweep's next job say, print what differs, but for
    the folder of the run.
    """
    global _shown
    if ranks.global_rank() > 0:
        return
    before, _shown = _shown, flatten(plain)
    tree = Tree("config, otherwise as above" if before else "config", guide_style="dim")
    if before:
        old, new = (flat.get("paths.output_dir") for flat in (before, _shown))
        same = {key: _in_folder(value, old, new) for key, value in before.items()}
        _add(tree, {k: v for k, v in _shown.items() if k not in same or same[k] != v})
        _add(tree, {f"~{k}": v for k, v in before.items() if k not in _shown})
    else:
        _add(tree, plain)
    Console().print(tree)


def print_results(
    metrics: Mapping[str, float], facts: Mapping[str, str | None], warning: str | None = None
) -> None:
    """Print the final metrics, then one line for each fact that there is."""
    console = Console(soft_wrap=True)  # paths and commands can be copied whole
    if metrics:
        table = Table("metric", "value")
        for name, value in sorted(metrics.items()):
            table.add_row(name, f"{value:.6g}")
        console.print(table)
    for name, fact in facts.items():
        if fact:
            console.print(f"[bold]{name:<16}[/bold]", fact, highlight=False)
    if warning:
        console.print(f"[bold red]{warning}[/bold red]", highlight=False)


def print_table(rows: Sequence[Mapping[str, str]]) -> None:
    """Print rows as a table; a column without a value is left out."""
    columns = [name for name in (rows[0] if rows else ()) if any(row[name] for row in rows)]
    table = Table()
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[name]) for name in columns))  # Text: brackets are no markup here
    Console().print(table)


def _in_folder(value: Any, old: Any, new: Any) -> Any:
    return value.replace(old, new) if isinstance(value, str) and old and new else value


def _add(tree: Tree, value: Any) -> None:
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, item in items:
        if isinstance(item, Mapping | list) and item:
            _add(tree.add(f"[bold]{key}[/bold]"), item)
        else:
            tree.add(f"{key}: {'null' if item is None else item}", style="default")
