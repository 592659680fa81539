"""Who may know whom: your code can be lifted out of this project, and `runtime` be replaced."""

import ast
from pathlib import Path

import pytest

from src.runtime.identity import PROJECT_ROOT

SRC = PROJECT_ROOT / "src"
YOURS = ("src.data", "src.models", "src.callbacks")


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [("runtime", YOURS), *((name.split(".")[1], ("src.runtime",)) for name in YOURS)],
)
def test_imports_run_one_way(folder: str, forbidden: tuple[str, ...]) -> None:
    paths = list((SRC / folder).rglob("*.py"))
    assert paths
    for path in paths:
        assert not [name for name in imports(path) if name.startswith(forbidden)], path
