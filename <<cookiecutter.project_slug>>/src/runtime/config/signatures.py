"""Does a node fit what it calls? Its keys against the signature, its values against the types."""

import ast
import difflib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra.utils import get_object

from src.runtime.config import module_files, source
from src.runtime.config.annotations import described, fits

# What Hydra keeps for itself.
RESERVED = {"_target_", "_partial_", "_args_", "_recursive_", "_convert_"}


@dataclass
class Parameter:
    """A keyword that a target takes; its annotation means what it means in `file`."""

    required: bool
    annotation: ast.expr | None = None
    file: Path | None = None


@dataclass
class Signature:
    """The keywords that a target takes; any others too if `open_ended`."""

    parameters: dict[str, Parameter]
    open_ended: bool


def faults(node: Mapping[str, Any], key: str, given: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield a sentence for each thing in a node that its target cannot take.

    Args:
        node: with a `_target_`, resolved.
        key: the node's dotted key, for the sentence.
        given: keywords that the caller adds.
    """
    target = str(node["_target_"])
    try:
        takes = signature(target)
    except ImportError as error:
        yield f"{key}._target_={target} cannot be found: {error}"
        return
    for name, value in zip(map(str, node), node.values(), strict=True):
        if parameter := takes.parameters.get(name):
            if not fits(value, parameter.annotation, parameter.file):
                expected = described(parameter.annotation, parameter.file)
                yield f"{key}.{name}={value}: expected {expected}. Set {key}.{name}=VALUE"
        elif name not in RESERVED and not takes.open_ended:
            hint = did_you_mean(name, takes.parameters)
            yield f"{key}.{name}: {target} takes no such argument{hint}. Remove it: ~{key}.{name}"
    if node.get("_partial_") or node.get("_args_"):
        return
    for name, parameter in takes.parameters.items():
        if parameter.required and name not in node and name not in given:
            yield f"{key}.{name} is missing: {target} needs it. Set +{key}.{name}=VALUE"


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return ` (did you mean X?)` for the nearest of the choices, or nothing."""
    near = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


@cache
def signature(target: str) -> Signature:
    """Return what a target such as `torch.optim.Adam` takes.

    Raises:
        ImportError: if there is no such target.
    """
    try:
        if found := source.find(target):
            return _read(found)
    except (source.Unreadable, SyntaxError):
        return _imported(target)
    module, _, name = target.rpartition(".")
    names = source.names_in(module)
    place = f"{module} has no {name}" if names else f"there is no module {module}"
    raise ImportError(place + did_you_mean(name, names))


def _read(found: source.Found) -> Signature:
    if isinstance(found.node, module_files.Function):
        return _of_function(found.node, found.file, method=False)
    if not isinstance(found.node, ast.ClassDef) or found.node.decorator_list:
        raise source.Unreadable(found.file)  # a dataclass, say
    for statement in reversed(found.node.body):
        if isinstance(statement, module_files.Function) and statement.name == "__init__":
            return _of_function(statement, found.file, method=True)
    for base in source.bases(found):
        return _read(base)
    raise source.Unreadable(found.file)


def _of_function(node: module_files.Function, file: Path, method: bool) -> Signature:
    positional = [*node.args.posonlyargs, *node.args.args][method:]
    required = {a.arg for a in positional[: len(positional) - len(node.args.defaults)]}
    pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    required |= {argument.arg for argument, default in pairs if default is None}
    return Signature(
        {
            argument.arg: Parameter(argument.arg in required, argument.annotation, file)
            for argument in (*positional, *node.args.kwonlyargs)
        },
        open_ended=node.args.kwarg is not None,
    )


def _imported(target: str) -> Signature:
    try:
        parameters = inspect.signature(get_object(target)).parameters.values()
    except (TypeError, ValueError):  # written in C
        return Signature({}, open_ended=True)
    except Exception as error:  # Hydra wraps what the import raised
        raise ImportError(str(error.__cause__ or error).splitlines()[0]) from error
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return Signature(
        {p.name: Parameter(p.default is p.empty) for p in parameters if p.kind in kinds},
        open_ended=any(p.kind is p.VAR_KEYWORD for p in parameters),
    )
