"""Does a node fit what it calls? Its keys against the signature, its values against the types.

The signature of the project's own code is read from its source; that of a library needs its
import.
"""

import ast
import difflib
import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig

from src.runtime import source

# What Hydra keeps for itself.
RESERVED = {"_target_", "_partial_", "_args_", "_recursive_", "_convert_"}


class Node:
    """Stands for what only a node can make: no value of a configuration is one."""


SIMPLE = {"int": int, "float": float, "bool": bool, "str": str, "None": None}


def faults(node: DictConfig, key: str, given: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield a sentence for each thing in a node that its target cannot take.

    Args:
        node: with a `_target_`.
        key: the node's dotted key, for the sentence.
        given: keywords that the caller adds.
    """
    target = str(node["_target_"])
    try:
        parameters = signature(target)
    except (ImportError, AttributeError, ValueError) as error:
        yield f"{key}._target_={target} cannot be found: {str(error).splitlines()[0]}"
        return
    if parameters is None:
        return
    named = {name: p for name, p in parameters.items() if p.kind is not p.VAR_KEYWORD}
    open_ended = len(named) < len(parameters)
    for name in node:
        if name in RESERVED:
            continue
        if name in named:
            yield from wrong_type(node, str(name), f"{key}.{name}", named[str(name)].annotation)
        elif not open_ended:
            near = did_you_mean(str(name), named)
            yield f"{key}.{name}: {target} takes no such argument{near}. Remove it: ~{key}.{name}"
    if node.get("_partial_") or node.get("_args_"):
        return
    for name, parameter in named.items():
        required = parameter.default is parameter.empty and parameter.kind is not (
            parameter.VAR_POSITIONAL
        )
        if required and name not in node and name not in given:
            yield f"{key}.{name} is missing: {target} needs it. Set +{key}.{name}=VALUE"


def did_you_mean(name: str, choices: Any) -> str:
    """Return ` (did you mean X?)` for the nearest of the choices, or nothing."""
    near = difflib.get_close_matches(name, [str(choice) for choice in choices], n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


def signature(target: str) -> Mapping[str, inspect.Parameter] | None:
    """Return the parameters that a target can be called with, or None if it does not tell.

    Raises:
        ImportError, AttributeError, ValueError: if there is no such target.
    """
    if target.startswith("src."):
        definition = source.find(target)
        if definition is None:
            module, _, name = target.rpartition(".")
            names = source.names_in(module)
            place = f"{module} has no {name}" if names else f"there is no module {module}"
            raise AttributeError(place + did_you_mean(name, names))
        if isinstance(definition, ast.FunctionDef):
            return _from_source(definition)
        for node in definition.body:
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                return _from_source(node, method=True)
        inherited = [base for base in source.bases(target) if base.startswith("src.")]
        if inherited:
            return signature(inherited[0])
    try:
        found = get_object(target)
    except Exception as error:  # Hydra wraps what the import raised
        raise ImportError(str(error.__cause__ or error)) from error
    try:
        return inspect.signature(found).parameters
    except (TypeError, ValueError):  # written in C
        return None


def wrong_type(node: DictConfig, name: str, key: str, annotation: Any) -> Iterator[str]:
    """Yield a sentence if a value is none of the types that a parameter is annotated with."""
    value = node[name]
    if isinstance(value, Mapping) or annotation is inspect.Parameter.empty:
        return
    allowed = options(annotation)
    if allowed is None or any(_fits(value, option) for option in allowed):
        return
    expected = " or ".join(_name(option) for option in allowed)
    yield f"{key}={value}: expected {expected}, got {type(value).__name__}. Set {key}=VALUE"


def _from_source(
    definition: ast.FunctionDef, method: bool = False
) -> Mapping[str, inspect.Parameter]:
    arguments = definition.args
    parameters = []
    positional = [*arguments.posonlyargs, *arguments.args][1 if method else 0 :]
    first_default = len(positional) - len(arguments.defaults)
    for i, argument in enumerate(positional):
        default = None if i >= first_default else inspect.Parameter.empty
        parameters.append((argument, inspect.Parameter.POSITIONAL_OR_KEYWORD, default))
    for argument, expression in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        default = inspect.Parameter.empty if expression is None else None
        parameters.append((argument, inspect.Parameter.KEYWORD_ONLY, default))
    if arguments.kwarg:
        parameters.append((arguments.kwarg, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.empty))
    return {
        argument.arg: inspect.Parameter(
            argument.arg,
            kind,
            default=default,
            annotation=argument.annotation or inspect.Parameter.empty,
        )
        for argument, kind, default in parameters
    }


def options(annotation: Any) -> list[Any] | None:
    """Return the types and literals that an annotation allows, or None if it allows others too."""
    if isinstance(annotation, str):
        try:
            annotation = ast.parse(annotation, mode="eval").body
        except SyntaxError:
            return None
    if isinstance(annotation, ast.expr):
        return _options_in_source(annotation)
    if annotation is None or annotation is type(None):
        return [None]
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        parts = [options(part) for part in typing.get_args(annotation)]
        return None if None in parts else [o for part in parts if part for o in part]
    if origin is typing.Literal:
        return [("literal", value) for value in typing.get_args(annotation)]
    if isinstance(annotation, type) and annotation is not object:
        return [annotation]
    return None


def _options_in_source(annotation: ast.expr) -> list[Any] | None:
    if isinstance(annotation, ast.BinOp) and isinstance(annotation.op, ast.BitOr):
        parts = [_options_in_source(side) for side in (annotation.left, annotation.right)]
        return None if None in parts else [o for part in parts if part for o in part]
    text = ast.unparse(annotation)
    if text in SIMPLE:
        return [SIMPLE[text]]
    if text.startswith("Literal["):
        return [("literal", value) for value in _literal(annotation)]
    if text == "nn.Module" or text.startswith("Callable["):
        return [Node]
    return None


def _literal(annotation: ast.expr) -> tuple[Any, ...]:
    assert isinstance(annotation, ast.Subscript)
    values = ast.literal_eval(annotation.slice)
    return values if isinstance(values, tuple) else (values,)


def _fits(value: Any, option: Any) -> bool:
    if option is None:
        return value is None
    if isinstance(option, tuple):
        return value == option[1]
    if option in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if option is float else option)


def _name(option: Any) -> str:
    if option is None:
        return "null"
    if option is Node:
        return "a node with a _target_"
    return str(option[1]) if isinstance(option, tuple) else option.__name__
