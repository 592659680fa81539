"""The names of the metrics that a module logs, read from its source.

So a name that is monitored or optimized, and never logged, is found before training and not after.
"""

import ast
import re

from src.runtime import source


def logged_by(target: str) -> list[str] | None:
    """Return the names that the module of one of the project's own classes logs.

    A name that is put together, such as `f"{stage}/loss"`, comes back as `{stage}/loss`. None means
    that the source does not tell: a name is computed, or the class comes from a library.
    """
    names: list[str] = []
    path = source.module_path(target.rpartition(".")[0])
    if path is None:
        return None
    for node in ast.walk(source.parse(path)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr not in ("log", "log_dict") or not node.args:
            continue
        argument = node.args[0]
        keys = argument.keys if isinstance(argument, ast.Dict) else [argument]
        for key in keys:
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                names.append(key.value)
            elif isinstance(key, ast.JoinedStr):
                names.append(ast.unparse(key)[2:-1])
            elif ast.unparse(node.func).startswith("self."):
                return None
    for base in source.bases(target):
        if base.startswith("src."):
            inherited = logged_by(base)
            if inherited is None:
                return None
            names += inherited
    return sorted(set(names))


def is_logged(metric: str, names: list[str]) -> bool:
    """Say whether a metric is one of the names, or fits one that is put together."""
    patterns = (re.sub(r"\\{.*?\\}", ".+", re.escape(name)) for name in names)
    return any(re.fullmatch(pattern, metric) for pattern in patterns)
