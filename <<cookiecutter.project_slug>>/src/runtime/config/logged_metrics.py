"""The names of the metrics that a module logs, read from its source.

So a name that is monitored or optimized, and never logged, is found before training and not after.
"""

import ast
import itertools

from src.runtime.config import module_files, source
from src.runtime.config.annotations import values_of


def logged_by(target: str) -> list[str] | None:
    """Return the names that one of the project's own LightningModules logs.

    `f"{stage}/loss"` counts as all that the annotation of `stage` allows, if that is a `Literal`.
    None means that the source does not tell: a name is computed otherwise.
    """
    try:
        found = source.find(target) if target.startswith("src.") else None
        names: set[str] = set()
        while found and (definition := source.whole_class(found)):
            if "site-packages" in found.file.parts:  # LightningModule itself logs nothing
                return sorted(names)
            for function in ast.walk(definition):
                if isinstance(function, module_files.Function):
                    for call in ast.walk(function):
                        names |= _logged(call, function, found)
            found = next(iter(source.bases(found)), None)
    except source.Unreadable:
        return None
    return sorted(names) or None


def _logged(call: ast.AST, function: module_files.Function, found: source.Found) -> set[str]:
    if not (isinstance(call, ast.Call) and ast.unparse(call.func) in ("self.log", "self.log_dict")):
        return set()
    given = [*call.args[:1], *(k.value for k in call.keywords if k.arg in ("name", "dictionary"))]
    keys = given[0].keys if given and isinstance(given[0], ast.Dict) else given
    names = {name for key in keys for name in _texts(key, function, found)}
    switches = {k.arg: k.value for k in call.keywords if k.arg in ("on_step", "on_epoch")}
    if len(switches) == 2 and not any(ast.unparse(v) == "False" for v in switches.values()):
        names |= {f"{name}_{part}" for name in names for part in ("step", "epoch")}
    return names


def _texts(key: ast.expr | None, function: module_files.Function, found: source.Found) -> list[str]:
    """Return the values that an expression can have; raise `Unreadable` if that is not told."""
    if isinstance(key, ast.Constant):
        return [str(key.value)]
    if isinstance(key, ast.FormattedValue):
        return _texts(key.value, function, found)
    if isinstance(key, ast.JoinedStr):
        parts = [_texts(part, function, found) for part in key.values]
        return ["".join(chosen) for chosen in itertools.product(*parts)]
    if isinstance(key, ast.Name):
        for argument in function.args.args:
            values = values_of(argument.annotation, found.file) if argument.arg == key.id else None
            if values:
                return [str(value) for value in values]
    raise source.Unreadable(found.file)
