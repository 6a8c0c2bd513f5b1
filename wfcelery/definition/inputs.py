"""The input of a run against the parameters of its definition, where the author's own types are not at hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from wfcelery.definition.document import Definition
from wfcelery.definition.findings import did_you_mean
from wfcelery.definition.values import mark_of
from wfcelery.errors import InvalidInput

_DEEPEST = 64


def check_input(definition: Definition, given: Mapping[str, Any]) -> dict[str, Any]:
    """The input with its defaults, all in stored form; `InvalidInput` tells everything wrong with it.

    A JSON schema is checked for types, enum, const, bounds, lengths, items, properties and anyOf; its patterns
    and formats are left to the code that knows the types.
    """
    wrong: list[tuple[str, str]] = []
    for name in given:
        if name not in definition.parameters:
            wrong.append((name, f"there is no such parameter{did_you_mean(get_close_matches(name, definition.parameters, 1))}"))
    stored: dict[str, Any] = {}
    for name, parameter in definition.parameters.items():
        if name in given:
            stored[name] = given[name]
            schema = parameter.json_schema
            if given[name] is not None or parameter.required or parameter.default is not None:
                wrong.extend(_Schema(schema).faults(name, given[name], schema, 0))
        elif parameter.required:
            wrong.append((name, "it is missing"))
        else:
            stored[name] = parameter.default
    if wrong:
        raise InvalidInput(definition.name, wrong)
    return stored


Fault = tuple[str, str]


def schema_faults(path: str, value: Any, schema: Mapping[str, Any]) -> list[Fault]:
    """(where, what) of everything in a stored value that a JSON schema does not take, as far as `check_input` looks."""
    return list(_Schema(schema).faults(path, value, schema, 0))


class _Schema:
    def __init__(self, whole: Mapping[str, Any]) -> None:
        self.whole = whole

    def faults(self, path: str, value: Any, schema: Any, depth: int) -> Iterator[Fault]:
        """(where, what) of everything that does not fit."""
        if not isinstance(schema, Mapping) or depth > _DEEPEST:
            return
        reference = schema.get("$ref")
        if isinstance(reference, str):
            yield from self.faults(path, value, self._referred(reference), depth + 1)
        for each in schema.get("allOf", ()):
            yield from self.faults(path, value, each, depth + 1)
        choices = schema.get("anyOf") or schema.get("oneOf")
        if choices and not any(next(self.faults(path, value, each, depth + 1), None) is None for each in choices):
            yield from self._of_the_nearest(path, value, choices, depth)
        yield from self._of_the_value(path, value, schema, depth)

    def _referred(self, reference: str) -> Any:
        at: Any = self.whole
        for part in reference.removeprefix("#/").split("/"):
            at = at.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(at, Mapping) else None
        return at

    def _of_the_nearest(self, path: str, value: Any, choices: list[Any], depth: int) -> Iterator[Fault]:
        alike = [each for each in choices if next(self._of_the_type(path, value, _resolved(each, self)), None) is None]
        if len(alike) == 1:
            yield from self.faults(path, value, alike[0], depth + 1)
        else:
            yield path, "it fits none of the types that it may have"

    def _of_the_value(self, path: str, value: Any, schema: Mapping[str, Any], depth: int) -> Iterator[Fault]:
        told = next(self._of_the_type(path, value, schema), None)
        if told is not None:
            yield told
            return
        if "enum" in schema and value not in schema["enum"]:
            yield path, f"it is one of {', '.join(map(repr, schema['enum']))}"
        if "const" in schema and value != schema["const"]:
            yield path, f"it is {schema['const']!r}"
        mark = mark_of(value)
        if isinstance(value, dict) and mark is None:
            yield from self._of_the_properties(path, value, schema, depth)
        elif isinstance(value, list):
            yield from _of_the_size(path, len(value), schema, "minItems", "maxItems", "items")
            for number, item in enumerate(value):
                yield from self.faults(f"{path}[{number}]", item, schema.get("items"), depth + 1)
        elif isinstance(value, str):
            yield from _of_the_size(path, len(value), schema, "minLength", "maxLength", "characters")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield from _of_the_bounds(path, value, schema)

    def _of_the_type(self, path: str, value: Any, schema: Any) -> Iterator[Fault]:
        wanted = schema.get("type") if isinstance(schema, Mapping) else None
        kinds = [wanted] if isinstance(wanted, str) else wanted or []
        if kinds and not any(_is_of(value, kind) for kind in kinds):
            yield path, f"it is of type {' or '.join(kinds)}, not {_named(value)}"

    def _of_the_properties(self, path: str, value: Mapping[str, Any], schema: Mapping[str, Any], depth: int) -> Iterator[Fault]:
        known = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{path}.{name}", "it is missing"
        for name, item in value.items():
            if name in known:
                yield from self.faults(f"{path}.{name}", item, known[name], depth + 1)
            elif schema.get("additionalProperties") is False:
                yield f"{path}.{name}", f"there is no such key{did_you_mean(get_close_matches(name, known, 1))}"
            else:
                yield from self.faults(f"{path}.{name}", item, schema.get("additionalProperties"), depth + 1)


def _resolved(schema: Any, whole: _Schema) -> Any:
    reference = schema.get("$ref") if isinstance(schema, Mapping) else None
    return whole._referred(reference) if isinstance(reference, str) else schema


def _of_the_size(path: str, size: int, schema: Mapping[str, Any], least: str, most: str, what: str) -> Iterator[Fault]:
    if size < schema.get(least, 0):
        yield path, f"it has at least {schema[least]} {what}, not {size}"
    if most in schema and size > schema[most]:
        yield path, f"it has at most {schema[most]} {what}, not {size}"


def _of_the_bounds(path: str, value: float, schema: Mapping[str, Any]) -> Iterator[Fault]:
    if "minimum" in schema and value < schema["minimum"]:
        yield path, f"it is at least {schema['minimum']}"
    if "maximum" in schema and value > schema["maximum"]:
        yield path, f"it is at most {schema['maximum']}"
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        yield path, f"it is more than {schema['exclusiveMinimum']}"
    if "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"]:
        yield path, f"it is less than {schema['exclusiveMaximum']}"


_KINDS: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def _is_of(value: Any, kind: str) -> bool:
    mark = mark_of(value)
    if mark is not None:
        return kind == "string" or (kind == "object" and mark[0] == "literal") or (kind in ("number", "integer") and mark[0] == "decimal")
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _KINDS.get(kind, (object,)))


def _named(value: Any) -> str:
    return next((kind for kind in ("null", "boolean", "integer", "number", "string", "array", "object") if _is_of(value, kind)), "another")
