"""The files of modules, and what stands in them: nothing is imported."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.ClassDef | Function


def module_file(module: str) -> Path | None:
    """Return the file of a module, or None if there is none; its parents are not imported."""
    first, *rest = module.split(".")
    spec = PathFinder.find_spec(first) if first else None
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.origin else None
    places = spec.submodule_search_locations or []
    return next((file for place in places if (file := package_file(Path(place, *rest)))), None)


@cache
def parse(file: Path) -> ast.Module:
    """Return the syntax tree of a Python file."""
    return ast.parse(file.read_text(encoding="utf-8"))


def package_file(module: Path) -> Path | None:
    """Return the file of a module that lies at a path without a suffix, or None."""
    files = (module / "__init__.py", module.with_name(f"{module.name}.py"))
    return next((file for file in files if file.is_file()), None)


def excerpt(file: Path, name: str) -> Definition | None:
    """Return a function, or a class with nothing but its `__init__`, of a module's top level.

    Cut out as text, for parsing all of such a module as `lr_scheduler` would take longer than
    all the rest. None if there is none, or if more of it counts: decorators, fields, bases.
    """
    source = file.read_text(encoding="utf-8")
    start = re.search(rf"^(class|def|async def) {re.escape(name)}\b", source, re.MULTILINE)
    if not start or source[: start.start()].rstrip().rpartition("\n")[2].startswith("@"):
        return None
    block = source[start.start() :]
    if end := re.search(r"\n(?=[^\s)\]#])", block):
        block = block[: end.start()]
    if start[1] == "class":
        head = re.match(r"class[^:]*:", block)
        method = r"\n    def __init__(?:.*(?:\n|\Z))+?(?=    (?:def|@|async|class)\b|\Z)"
        init = re.search(method, block)
        if not head or not init:
            return None
        block = head[0] + init[0]
    try:
        (node,) = ast.parse(block).body
    except (SyntaxError, ValueError):
        return None
    return node if isinstance(node, Definition) else None


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module, those inside `if` and `try` too; the last one first."""
    for statement in reversed(body):
        yield statement
        if isinstance(statement, ast.If | ast.Try):
            handlers = getattr(statement, "handlers", [])
            yield from statements(
                [*statement.body, *statement.orelse, *(s for h in handlers for s in h.body)]
            )
