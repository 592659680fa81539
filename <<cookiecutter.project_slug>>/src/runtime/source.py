"""The project's own code, read without being run: importing it would import torch first."""

import ast
from functools import cache
from pathlib import Path

from src.runtime.identity import PROJECT_ROOT

Definition = ast.ClassDef | ast.FunctionDef


@cache
def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a Python file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def module_path(module: str) -> Path | None:
    """Return the file of one of the project's own modules, or None if it is none."""
    base = PROJECT_ROOT.joinpath(*module.split("."))
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def find(target: str) -> Definition | None:
    """Return the class or function that a dotted name means, or None if it is not found here."""
    module, _, name = target.rpartition(".")
    path = module_path(module) if module else None
    if path is None:
        return None
    for node in parse(path).body:
        if isinstance(node, Definition) and node.name == name:
            return node
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return find(f"{node.module}.{alias.name}")
    return None


def names_in(module: str) -> list[str]:
    """Return the classes and functions that one of the project's own modules defines."""
    path = module_path(module)
    return [n.name for n in parse(path).body if isinstance(n, Definition)] if path else []


def bases(target: str) -> list[str]:
    """Return the dotted names of the base classes of one of the project's own classes."""
    definition = find(target)
    path = module_path(target.rpartition(".")[0])
    if not isinstance(definition, ast.ClassDef) or path is None:
        return []
    imported = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in parse(path).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    own = target.rpartition(".")[0]
    written = [ast.unparse(base).split("[")[0] for base in definition.bases]
    return [imported.get(name, f"{own}.{name}" if "." not in name else name) for name in written]
