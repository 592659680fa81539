"""What a run shows on the terminal: its configuration at the start, its results at the end."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from src.runtime import ranks


def print_config(plain: Mapping[str, Any]) -> None:
    """Print a configuration as a tree, on rank 0."""
    if ranks.global_rank() > 0:
        return
    tree = Tree("config", guide_style="dim")
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


def _add(tree: Tree, value: Any) -> None:
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, item in items:
        if isinstance(item, Mapping | list) and item:
            _add(tree.add(f"[bold]{key}[/bold]"), item)
        else:
            tree.add(f"{key}: {'null' if item is None else item}", style="default")
