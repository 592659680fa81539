"""Whether a value of the configuration fits an annotation, both as they stand written."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from src.runtime.config.source import Found, Unreadable, lookup

SCALARS: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "Path": (str,),
    "PathLike": (str,),
    "None": (type(None),),
}
LISTS = {"list", "List", "Sequence", "Iterable", "Collection", "tuple", "Tuple", "set", "Set"}
DICTS = {"dict", "Dict", "Mapping", "MutableMapping"}
OBJECTS = {"Callable", "Module", "Optimizer", "Tensor", "Logger", "Callback"}  # no text, no number


def fits(value: Any, annotation: ast.expr | None, file: Path | None) -> bool:
    """Say whether a value fits; True where the annotation does not tell.

    Args:
        value: a scalar, a list or a dict; a dict with a `_target_` is whatever that makes.
        annotation: as in the source.
        file: the module that it stands in.
    """
    if annotation is None or (isinstance(value, dict) and "_target_" in value):
        return True
    match annotation:
        case ast.Constant(value=str(text)):
            return fits(value, ast.parse(text, mode="eval").body, file)
        case ast.Constant(value=None):
            return value is None
        case ast.BinOp(left=left, right=right):
            return fits(value, left, file) or fits(value, right, file)
        case ast.Subscript(value=outer):
            return _fits_generic(value, _name(outer), parts_of(annotation), file)
        case ast.Name() | ast.Attribute():
            return _fits_name(value, _name(annotation), file)
    return True


def described(annotation: ast.expr | None, file: Path | None) -> str:
    """Return an annotation in words: `epoch or step` for a `Literal`, `int or null` for a union."""
    return " or ".join(dict.fromkeys(_alternatives(annotation, file)))


def values_of(annotation: ast.expr | None, file: Path | None) -> list[Any] | None:
    """Return the values that a `Literal`, or a name for one, allows; None if it is none."""
    match annotation:
        case ast.Subscript(value=outer) if _name(outer) == "Literal":
            return [p.value for p in parts_of(annotation) if isinstance(p, ast.Constant)]
        case ast.Name(id=name):
            return values_of(*_alias(name, file))
    return None


def parts_of(annotation: ast.Subscript) -> list[ast.expr]:
    """Return what stands in the brackets."""
    inner = annotation.slice
    return inner.elts if isinstance(inner, ast.Tuple) else [inner]


def _alternatives(annotation: ast.expr | None, file: Path | None) -> Iterator[str]:
    match annotation:
        case None:
            yield "anything"
        case ast.Constant(value=None):
            yield "null"
        case ast.BinOp(left=left, right=right):
            yield from _alternatives(left, file)
            yield from _alternatives(right, file)
        case ast.Subscript(value=outer) if _name(outer) == "Union":
            for part in parts_of(annotation):
                yield from _alternatives(part, file)
        case ast.Subscript(value=outer) if _name(outer) == "Optional":
            yield from _alternatives(annotation.slice, file)
            yield "null"
        case ast.Subscript(value=outer) if _name(outer) == "Literal":
            values = values_of(annotation, file) or []
            yield from ("null" if value is None else str(value) for value in values)
        case ast.Name(id=name) if (alias := _alias(name, file))[0] is not None:
            yield from _alternatives(*alias)
        case _:
            outer = annotation.value if isinstance(annotation, ast.Subscript) else annotation
            is_object = _name(outer) in OBJECTS
            yield "a node with a _target_" if is_object else ast.unparse(annotation)


def _fits_generic(value: Any, name: str, parts: list[ast.expr], file: Path | None) -> bool:
    if name == "Union":
        return any(fits(value, part, file) for part in parts)
    if name == "Optional":
        return value is None or fits(value, parts[0], file)
    if name == "Annotated":
        return fits(value, parts[0], file)
    if name == "Literal":
        # `False == 0`, but who wrote one did not mean the other.
        return any(
            isinstance(part, ast.Constant)
            and type(part.value) is type(value)
            and part.value == value
            for part in parts
        )
    if name in LISTS and isinstance(value, list) and name not in ("tuple", "Tuple"):
        return all(fits(item, parts[0], file) for item in value)
    return _fits_name(value, name, file)


def _fits_name(value: Any, name: str, file: Path | None) -> bool:
    if name in SCALARS:
        if isinstance(value, bool) and name in ("int", "float"):
            return False
        return isinstance(value, SCALARS[name])
    if name in LISTS:
        return isinstance(value, list)
    if name in DICTS:
        return isinstance(value, dict)
    if name in OBJECTS:
        return not isinstance(value, str | int | float | type(None))
    return fits(value, *_alias(name, file))


def _alias(name: str, file: Path | None) -> tuple[ast.expr | None, Path | None]:
    """Return what a module's `name = ...` stands for, if it is a type, and where that stands."""
    try:
        found = lookup(file, name) if file else None
    except Unreadable:
        return None, None
    match found:
        case Found(node=ast.Assign(value=value), file=place) if isinstance(
            value, ast.Subscript | ast.BinOp
        ):
            return value, place
    return None, None


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""
