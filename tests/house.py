"""Measure a baked project: how much code there is to own, and which names in it are not public.

python tests/house.py PROJECT    print the measures and each finding
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDERS_NOT_OWNED = {".git", ".venv", ".venv-lowest", ".pytest_cache", ".ruff_cache", "__pycache__"}
RESULTS = {"data", "logs"}  # at the top of the project only: src/data holds code
# Settings that their libraries document as attributes to assign.
DOCUMENTED_SETTINGS = ("torch.backends.", "os.environ", "sys.", "warnings.", "logging.", "plt.")
TOKENS_WITHOUT_CODE = {
    *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT),
    *(tokenize.ENCODING, tokenize.ENDMARKER),
}


@dataclass(frozen=True, order=True)
class Finding:
    """Something to avoid: a `private` name, a `replaced` attribute, or a `late` import."""

    kind: str
    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.kind} {self.path}:{self.line}: {self.text}"


def is_private(name: str) -> bool:
    """Return whether a name is private: `_x`, but not `__x__`, `_target_` or `_exit`."""
    return name.startswith("_") and not name.endswith("_") and name[:2] != "__" and name != "_exit"


def owned_files(project: Path) -> list[Path]:
    """Return the files of a project, without caches, environments and results."""
    paths = []
    for path in sorted(project.rglob("*")):
        parts = path.relative_to(project).parts
        if path.is_file() and parts[0] not in RESULTS and not FOLDERS_NOT_OWNED & set(parts):
            paths.append(path)
    return paths


def count_code(source: str) -> tuple[int, int]:
    """Return how many lines hold code, and how many tokens; docstrings and comments are no code."""
    docstring_lines: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        holder = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, holder) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            docstring_lines.update(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    lines: set[int] = set()
    tokens = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in TOKENS_WITHOUT_CODE and token.start[0] not in docstring_lines:
            lines.update(range(token.start[0], token.end[0] + 1))
            tokens += 1
    return len(lines), tokens


def private_names_defined(trees: list[ast.Module]) -> set[str]:
    """Return the private names that the project defines itself, which it may use."""
    names: set[str] = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                names.add(node.name)
            case ast.Name(ctx=ast.Store()):
                names.add(node.id)
            case ast.Attribute(ctx=ast.Store(), value=ast.Name(id="self" | "cls")):
                names.add(node.attr)
    return {name for name in names if is_private(name)}


def first_name(node: ast.expr) -> str | None:
    """Return the name that an expression such as `a.b(c)[d].e` begins with: `a`."""
    while not isinstance(node, ast.Name):
        match node:
            case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Call(func=inner):
                node = inner
            case _:
                return None
    return node.id


class FileScan:
    """Find what to avoid in one file.

    Args:
        tree: the parsed file.
        path: its path in the project.
        own_packages: names of the project's own packages at its top.
        own_private: private names that the project defines.
    """

    def __init__(
        self, tree: ast.Module, path: str, own_packages: set[str], own_private: set[str]
    ) -> None:
        self.tree = tree
        self.path = path
        self.own_packages = own_packages | {"__future__"}
        self.own_private = own_private
        self.foreign = self.foreign_names()

    def is_foreign_module(self, module: str | None, level: int = 0) -> bool:
        """Return whether a module belongs to somebody else."""
        return bool(module) and not level and str(module).split(".")[0] not in self.own_packages

    def foreign_names(self) -> set[str]:
        """Return the names in the file that come from somebody else's modules, and aliases."""
        names: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if self.is_foreign_module(alias.name):
                        names.add((alias.asname or alias.name).split(".")[0])
            elif isinstance(node, ast.ImportFrom) and self.is_foreign_module(
                node.module, node.level
            ):
                names.update(alias.asname or alias.name for alias in node.names)
        for node in ast.walk(self.tree):  # json_module = json
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Name):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if node.value.id in names:
                    names.update(target.id for target in targets if isinstance(target, ast.Name))
        return names - {"sys"}

    def __iter__(self) -> Iterator[Finding]:
        for node in ast.walk(self.tree):
            for kind, text in [*self.imports(node), *self.attributes(node), *self.calls(node)]:
                yield Finding(kind, self.path, getattr(node, "lineno", 0), text[:100])
            for line, text in self.late_imports(node):
                yield Finding("late", self.path, line, text)

    def imports(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        """Find `import x._y` and `from x import _y`."""
        if isinstance(node, ast.Import):
            for alias in node.names:
                if self.is_foreign_module(alias.name) and any(
                    map(is_private, alias.name.split("."))
                ):
                    yield "private", f"import {alias.name}"
        elif isinstance(node, ast.ImportFrom) and self.is_foreign_module(node.module, node.level):
            parts = [*str(node.module).split("."), *(alias.name for alias in node.names)]
            for part in filter(is_private, parts):
                yield "private", f"from {node.module}: {part}"

    def attributes(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        """Find `x._y`, `module.x = ...`, `x.__class__ = ...` and `vars(x)[...] = ...`."""
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            holder = ast.unparse(node.value)
            if holder.endswith(".__dict__") or holder.startswith("vars("):
                yield "replaced", f"{ast.unparse(node)} = ..."
        if not isinstance(node, ast.Attribute):
            return
        text = ast.unparse(node)
        is_foreign = first_name(node) in self.foreign
        if is_private(node.attr) and (is_foreign or node.attr not in self.own_private):
            yield "private", text
        if isinstance(node.ctx, ast.Load) or text.startswith(DOCUMENTED_SETTINGS):
            return
        if node.attr == "__class__" or (is_foreign and "(" not in text):
            yield "replaced", f"{text} = ..."

    def calls(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        """Find private names and replaced attributes in `setattr(x, "y", ...)` and its like."""
        if not isinstance(node, ast.Call):
            return
        function, text = ast.unparse(node.func), ast.unparse(node)
        if function in ("getattr", "setattr", "hasattr", "delattr") and len(node.args) > 1:
            match node.args[1]:
                case ast.Constant(value=str(name)) if is_private(name):
                    if name not in self.own_private:
                        yield "private", text
            if function in ("setattr", "delattr") and first_name(node.args[0]) in self.foreign:
                yield "replaced", text
        if re.search(r"(\.__dict__|^vars\(.*\))\.update$|patch\.object$", function):
            yield "replaced", text

    def late_imports(self, node: ast.AST) -> Iterator[tuple[int, str]]:
        """Find imports of the project's own modules inside functions."""
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return
        for inner in ast.walk(node):
            modules: list[str] = []
            if isinstance(inner, ast.Import):
                modules = [alias.name for alias in inner.names]
            elif isinstance(inner, ast.ImportFrom):
                modules = ["src"] if inner.level else [str(inner.module)]
            if any(module.split(".")[0] in self.own_packages for module in modules):
                yield getattr(inner, "lineno", 0), ast.unparse(inner)


def findings(project: Path) -> list[Finding]:
    """Return the private names, replaced attributes and late imports of a project."""
    paths = [path for path in owned_files(project) if path.suffix == ".py"]
    trees = [ast.parse(path.read_text("utf-8")) for path in paths]
    names = [path.relative_to(project) for path in paths]
    packages = {name.parts[0].removesuffix(".py") for name in names}
    own_private = private_names_defined(trees)
    found: set[Finding] = set()
    for tree, name in zip(trees, names, strict=True):
        found.update(FileScan(tree, name.as_posix(), packages, own_private))
    return sorted(found)


def measures(project: Path) -> dict[str, float]:
    """Return the sizes that DESIGN sets budgets for; `beside` is shell, Makefiles, code in docs."""
    files = {path.relative_to(project): path.read_text("utf-8") for path in owned_files(project)}
    python = {name: source for name, source in files.items() if name.suffix == ".py"}
    code = {name: count_code(source) for name, source in python.items()}
    runtime = [name for name in code if name.parts[:2] == ("src", "runtime")]
    configs = [files[name] for name in files if name.parts[0] == "configs"]
    lines = sum(count for count, _ in code.values())
    beside = 0
    for name, text in files.items():
        if name.suffix in (".sh", ".bash") or name.name == "Makefile":
            beside += len(text.splitlines())
        elif name.suffix == ".md":
            blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
            beside += sum(len(block.splitlines()) for block in blocks)
    return {
        "code": lines,
        "density": round(sum(tokens for _, tokens in code.values()) / max(lines, 1), 1),
        "runtime": sum(code[name][0] for name in runtime),
        "runtime_files": sum(name.name != "__init__.py" for name in runtime),
        "tests": sum(count for name, (count, _) in code.items() if name.parts[0] == "tests"),
        "longest_file": max(len(source.splitlines()) for source in python.values()),
        "longest_line": max(len(line) for text in python.values() for line in text.splitlines()),
        "yaml": len(configs),
        "longest_yaml": max(len(text.splitlines()) for text in configs),
        "beside": beside,
    }


if __name__ == "__main__":
    where = Path(sys.argv[1]).resolve()
    for what, value in measures(where).items():
        print(f"{what:14} {value}")
    print(*findings(where), sep="\n")
