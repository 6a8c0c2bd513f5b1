"""What the schema of a parameter says of references to it."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, TypeAdapter

from wfcelery.definition.parameter_paths import unknown_field


class Line(BaseModel):
    sku: str
    notes: dict[str, int] = {}
    inner: Line | None = None


class Order(BaseModel):
    total: int
    lines: list[Line]
    first: Line | None = None
    either: Line | int | str = 0
    free: dict[str, Line] = {}


SCHEMA = TypeAdapter(Order).json_schema()


@pytest.mark.parametrize(
    ("path", "told"),
    [
        (("total",), None),
        (("totl",), ("totl", ["total"])),
        (("lines", 0, "sku"), None),
        (("lines", 0, "skew"), ("skew", [])),
        (("first", "inner", "inner", "skuu"), ("skuu", ["sku"])),
        (("either", "anything"), None),
        (("free", "any", "sku"), None),
        (("free", "any", "skuu"), ("skuu", ["sku"])),
        (("lines", 0, "notes", "any", "deeper"), None),
    ],
)
def test_the_first_unknown_name_is_told(path: tuple[str | int, ...], told: object) -> None:
    assert unknown_field(SCHEMA, path) == told


def test_a_schema_that_says_only_object_knows_every_field() -> None:
    assert unknown_field({"type": "object"}, ("anything", "at", 0, "all")) is None
