"""What a dotted name means, read from the sources: nothing is imported.

Importing torch takes seconds; reading the definitions of a run's dozen targets takes hundredths.
"""

import ast
import re
from pathlib import Path
from typing import NamedTuple

from src.runtime.config.module_files import (
    Definition,
    excerpt,
    module_file,
    package_file,
    parse,
    statements,
)


class Unreadable(Exception):
    """The sources do not tell: an extension in C, say, or names that are made at run time."""


class Found(NamedTuple):
    """What a name stands for, and the file in which its own names mean something."""

    node: Definition | ast.Assign
    file: Path


def find(target: str) -> Found | None:
    """Return the class or function that a dotted path names, or None if it names nothing.

    Raises:
        Unreadable: if the sources do not tell.
    """
    module, _, name = target.rpartition(".")
    file = module_file(module)
    if file is None:
        parent, _, owner = module.rpartition(".")
        if (file := module_file(parent)) and lookup(file, owner):
            raise Unreadable(target)  # a method of a class
        return None
    return lookup(file, name)


def lookup(file: Path, name: str, seen: frozenset[tuple[Path, str]] = frozenset()) -> Found | None:
    """Return what a name stands for in a module, through its imports; None if for nothing.

    Raises:
        Unreadable: if the sources do not tell.
    """
    if (file, name) in seen:
        return None
    if file.suffix != ".py":
        raise Unreadable(file)
    if node := excerpt(file, name):
        return Found(node, file)
    seen |= {(file, name)}
    unreadable = None
    for statement in statements(parse(file).body):
        try:
            if found := _bound(statement, name, file, seen):
                return found
        except Unreadable as error:
            unreadable = error
    if unreadable or "." in name or _DYNAMIC.search(file.read_text(encoding="utf-8")):
        raise Unreadable(f"{file}: {name}")
    return None


_DYNAMIC = re.compile(r"\b(__getattr__|globals|exec|setattr)\b")


def names_in(module: str) -> list[str]:
    """Return the classes and functions that a module defines or imports by name."""
    file = module_file(module)
    if file is None or file.suffix != ".py":
        return []
    names: list[str] = []
    for statement in statements(parse(file).body):
        if isinstance(statement, Definition):
            names.append(statement.name)
        elif isinstance(statement, ast.ImportFrom):
            names += [alias.asname or alias.name for alias in statement.names]
    return [name for name in names if not name.startswith("_")]


def whole_class(found: Found) -> ast.ClassDef | None:
    """Return a class with all its methods, or None if it is none."""
    name = getattr(found.node, "name", None)
    for statement in statements(parse(found.file).body):
        if isinstance(statement, ast.ClassDef) and statement.name == name:
            return statement
    return None


def bases(found: Found) -> list[Found]:
    """Return the base classes of a class, as far as they can be found.

    Raises:
        Unreadable: if the sources do not tell.
    """
    definition = whole_class(found)
    written = [dotted(base) for base in definition.bases] if definition else []
    return [base for name in written if name and (base := lookup(found.file, name))]


def dotted(node: ast.expr) -> str:
    """Return `a.b` for an expression that is just that, `a` for `a[b]`, else an empty string."""
    if isinstance(node, ast.Subscript):
        return dotted(node.value)
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def _bound(
    statement: ast.stmt, name: str, file: Path, seen: frozenset[tuple[Path, str]]
) -> Found | None:
    """Return what a statement binds a name to, or None if it does not bind it."""
    if isinstance(statement, Definition) and statement.name == name:
        return Found(statement, file)
    if isinstance(statement, ast.Assign) and name in map(dotted, statement.targets):
        if isinstance(statement.value, ast.Name | ast.Attribute):  # another name for a thing
            return lookup(file, dotted(statement.value), seen) or Found(statement, file)
        return Found(statement, file)
    first, _, rest = name.partition(".")
    if isinstance(statement, ast.ImportFrom):
        for alias in statement.names:
            if alias.name != "*" and (alias.asname or alias.name) == first:
                return _imported(file, statement, f"{alias.name}.{rest}".rstrip("."), seen)
            if alias.name == "*" and (found := _imported(file, statement, name, seen)):
                return found
    return None


def _imported(
    file: Path, statement: ast.ImportFrom, name: str, seen: frozenset[tuple[Path, str]]
) -> Found | None:
    parts = statement.module.split(".") if statement.module else []
    if statement.level:
        package = file.parents[statement.level - 1]
        source = package_file(package.joinpath(*parts))
        inner = package.joinpath(*parts, name.partition(".")[0])
    else:
        source = module_file(".".join(parts))
        inner = source.parent / name.partition(".")[0] if source else Path()
    if source is None:
        raise Unreadable(file)
    if "." in name and (module := package_file(inner)):  # `from torch import nn`, then `nn.Module`
        return lookup(module, name.partition(".")[2], seen)
    return lookup(source, name, seen)
