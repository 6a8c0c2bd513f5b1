"""An input against the parameters of a stored definition, without the author's code."""

from __future__ import annotations

from typing import Any

import pytest

from wfcelery.definition.inputs import check_input
from wfcelery.definition.model import Definition
from wfcelery.errors import InvalidInput

ORDER = {
    "required": True,
    "type": "object",
    "required_": True,
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "total": {"anyOf": [{"type": "number"}, {"type": "string", "pattern": "x"}]},
        "note": {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}, "minItems": 1},
        "size": {"enum": ["S", "L"]},
    },
    "additionalProperties": False,
    "$defs": {"Line": {"type": "object", "properties": {"sku": {"type": "string"}}, "required": ["sku"]}},
}
DEFINITION = Definition.model_validate(
    {
        "name": "f",
        "parameters": {"order": ORDER, "n": {"type": "integer", "default": 3}, "free": {}},
        "tasks": [{"name": "a", "action": "x"}],
    }
)


def test_an_input_that_fits_gets_its_defaults() -> None:
    order = {"id": 1, "total": {"$wf": ["decimal", "9.5"]}, "note": None, "lines": [{"sku": "a", "more": 1}], "size": "S"}

    assert check_input(DEFINITION, {"order": order}) == {"order": order, "n": 3, "free": None}


@pytest.mark.parametrize(
    ("order", "where"),
    [
        ([], "order"),
        ({"id": "1"}, "order.id"),
        ({"id": True}, "order.id"),
        ({"id": 0}, "order.id"),
        ({"total": True}, "order.total"),
        ({"note": "long"}, "order.note"),
        ({"lines": []}, "order.lines"),
        ({"lines": [{"sku": "a"}, {}]}, "order.lines[1].sku"),
        ({"lines": [{"sku": 1}]}, "order.lines[0].sku"),
        ({"size": "M"}, "order.size"),
        ({"siez": "S"}, "order.siez"),
    ],
)
def test_what_does_not_fit_is_told_by_its_place(order: Any, where: str) -> None:
    with pytest.raises(InvalidInput) as told:
        check_input(DEFINITION, {"order": order})

    assert [place for place, _ in told.value.errors] == [where]


def test_everything_wrong_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as told:
        check_input(DEFINITION, {"ordr": 1, "n": "x"})

    assert [place for place, _ in told.value.errors] == ["ordr", "order", "n"]
