"""Which part of the project may import which."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from src.runtime.project import PROJECT_ROOT

OWN_CODE = ("src.data", "src.models", "src.callbacks")


def imported_modules(path: Path) -> set[str]:
    """Return the modules that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("package", OWN_CODE)
def test_own_code_does_not_need_the_runtime(package: str) -> None:
    for path in (PROJECT_ROOT / package.replace(".", "/")).rglob("*.py"):
        assert not [n for n in imported_modules(path) if n.startswith("src.runtime")], path


def test_the_runtime_does_not_need_own_code_and_has_no_cycles() -> None:
    files = {f"src.runtime.{p.stem}": p for p in (PROJECT_ROOT / "src/runtime").glob("*.py")}
    graph = {module: imported_modules(path) for module, path in files.items()}
    for module, imported in graph.items():
        assert not [name for name in imported if name.startswith(OWN_CODE)], module
    TopologicalSorter({m: names & graph.keys() for m, names in graph.items()}).prepare()
