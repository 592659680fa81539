"""JSON schemas of the config groups, so that an editor completes and underlines their files."""

import ast
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.runtime.config import signatures
from src.runtime.config.annotations import parts_of, values_of
from src.runtime.config.overrides import CONFIGS, groups

INTERPOLATION = {"type": "string", "pattern": r"\$\{|^\?\?\?$"}
JSON_TYPES = {"int": "integer", "float": "number", "bool": "boolean", "str": "string"}


def write(folder: Path) -> list[Path]:
    """Write a schema for each group that has `_target_` nodes; return the files."""
    folder.mkdir(exist_ok=True)
    written = []
    for group, choices in groups().items():
        contents = [OmegaConf.load(CONFIGS / group / f"{choice}.yaml") for choice in choices]
        shapes = [_node(content) for content in contents if isinstance(content, DictConfig)]
        path = folder / f"{group.replace('/', '.')}.json"
        schema = {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": f"configs/{group}",
            "anyOf": shapes,
        }
        path.write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")
        written.append(path)
    return written


def _node(content: DictConfig) -> dict[str, Any]:
    properties: dict[str, Any] = {"defaults": {"type": "array"}}
    target = content.get("_target_")
    takes = None
    if target:
        with suppress(ImportError):  # of an extra that is not installed
            takes = signatures.signature(str(target))
    for name, parameter in takes.parameters.items() if takes else ():
        properties[name] = {"anyOf": [INTERPOLATION, _value(parameter.annotation, parameter.file)]}
    for key in content:
        value = content._get_node(key)
        if isinstance(value, DictConfig) and not value._is_none():
            properties[str(key)] = _node(value)
    shape: dict[str, Any] = {"type": "object", "properties": properties}
    if takes:
        properties |= {"_target_": {"const": str(target)}} | {
            name: {} for name in signatures.RESERVED - {"_target_"}
        }
        shape |= {"required": ["_target_"], "additionalProperties": takes.open_ended}
    return shape


def _value(annotation: ast.expr | None, file: Path | None) -> dict[str, Any]:
    match annotation:
        case ast.Constant(value=None):
            return {"type": "null"}
        case ast.BinOp(left=left, right=right):
            return {"anyOf": [_value(left, file), _value(right, file)]}
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return {"anyOf": [_value(inner, file), {"type": "null"}]}
        case ast.Subscript(value=ast.Name(id="Union")):
            return {"anyOf": [_value(part, file) for part in parts_of(annotation)]}
        case ast.Name(id=name) if name in JSON_TYPES:
            return {"type": JSON_TYPES[name]}
    values = values_of(annotation, file)
    return {"enum": values} if values else {}
