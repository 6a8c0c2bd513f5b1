"""Whether a reference like `parameters.order.total` leads anywhere, by the JSON schema of the parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

_DEEPEST = 50  # of schemas that refer to each other


def unknown_field(schema: Mapping[str, Any], path: Sequence[str | int]) -> tuple[str, list[str]] | None:
    """The first name on the path that the schema does not know, and what is near; None where all are, or may be."""
    return _unknown(schema, schema.get("$defs", {}), tuple(path), 0)


def _unknown(schema: Any, known: Mapping[str, Any], path: tuple[str | int, ...], depth: int) -> tuple[str, list[str]] | None:
    if not path or not isinstance(schema, Mapping) or depth > _DEEPEST:
        return None
    if "$ref" in schema:
        return _unknown(known.get(str(schema["$ref"]).rpartition("/")[2]), known, path, depth + 1)
    for union in ("anyOf", "oneOf"):
        branches = [each for each in schema.get(union, ()) if each != {"type": "null"}]
        if branches:
            told = [_unknown(each, known, path, depth + 1) for each in branches]
            return None if any(each is None for each in told) else told[0]
    part, rest = path[0], path[1:]
    if isinstance(part, int):
        return _unknown(schema.get("items"), known, rest, depth + 1)
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return _unknown(schema.get("additionalProperties"), known, rest, depth + 1)
    if part in properties:
        return _unknown(properties[part], known, rest, depth + 1)
    if schema.get("additionalProperties"):
        return None
    return part, get_close_matches(part, properties, 1)
