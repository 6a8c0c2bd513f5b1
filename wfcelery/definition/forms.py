"""What an answer to an approval has to say: a JSON schema, as a definition writes it, or the name of a model that code knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NAME = "$model"  # no field is called so
SCHEMA = "$form"
_OF_A_SCHEMA = ("type", "properties", "$ref", "anyOf", "oneOf", "allOf")


def form_of(written: Any) -> Any:
    """The one form of what an author may write: `Note`, a JSON schema, or a mapping of fields to schemas."""
    if isinstance(written, str):
        return {NAME: written}
    if not isinstance(written, dict) or set(written) <= {NAME, SCHEMA}:
        return written
    # A field may be called type; then what stands there is a mapping.
    is_schema = any(key in written and not (key == "type" and isinstance(written[key], dict)) for key in _OF_A_SCHEMA)
    if is_schema or not all(each is None or isinstance(each, str | dict) for each in written.values()):
        return {SCHEMA: written}
    return {SCHEMA: _of_fields(written)}


def _of_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`reason: {type: string, required: true}`, as parameters are written; `reason: string` in short."""
    said = {
        name: {"type": each} if isinstance(each, str) else dict(each) if isinstance(each, dict) else {} for name, each in fields.items()
    }
    required = [name for name, each in said.items() if each.pop("required", False) is True]
    return {"type": "object", "properties": said, "required": sorted(required), "additionalProperties": False}
