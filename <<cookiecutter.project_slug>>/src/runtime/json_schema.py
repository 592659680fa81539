"""JSON schemas of the config groups, so that an editor completes and underlines their files."""

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.runtime import signatures
from src.runtime.guards import CONFIGS, groups

INTERPOLATION = {"type": "string", "pattern": r"\$\{|^\?\?\?$"}
JSON_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string", None: "null"}


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
    parameters = signatures.signature(str(target)) if target else None
    for name, parameter in (parameters or {}).items():
        properties[name] = _value(signatures.options(parameter.annotation))
    for key in content:
        value = content._get_node(key)
        if isinstance(value, DictConfig) and not value._is_none():
            properties[str(key)] = _node(value)
    shape: dict[str, Any] = {"type": "object", "properties": properties}
    if target:
        properties |= {"_target_": {"const": str(target)}} | {
            name: {} for name in signatures.RESERVED - {"_target_"}
        }
        open_ended = parameters is None or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        shape |= {"required": ["_target_"], "additionalProperties": open_ended}
    return shape


def _value(options: list[Any] | None) -> dict[str, Any]:
    if options is None:
        return {}
    shapes: list[dict[str, Any]] = [INTERPOLATION]
    for option in options:
        if isinstance(option, tuple):
            shapes.append({"const": option[1]})
        elif option in JSON_TYPES:
            shapes.append({"type": JSON_TYPES[option]})
        else:  # an object: a node makes it
            shapes.append({"type": ["object", "array", "string"]})
    return {"anyOf": shapes}
