"""What is given to `add_items` is looked at as a whole before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

import pytest
from pydantic import BaseModel

from wfcelery.errors import InvalidInput
from wfcelery.service.context import Context
from wfcelery.service.fan_outs import _stored
from wfcelery.settings import Settings
from wfcelery.store.database import Database


class Line(BaseModel):
    sku: str
    price: Decimal


@dataclass
class Part:
    number: int


CONTEXT = Context(cast(Database, None), Settings())


def wrong(items: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as told:
        _stored(CONTEXT, items)
    return list(told.value.errors)


def test_plain_values_models_and_dataclasses_are_items() -> None:
    found = _stored(CONTEXT, [1, {"a": [2]}, Line(sku="x", price=Decimal("1.5")), Part(7)])
    assert found == [1, {"a": [2]}, {"sku": "x", "price": {"$wf": ["decimal", "1.5"]}}, {"number": 7}]


def test_every_item_that_cannot_be_stored_is_told() -> None:
    assert [where for where, _ in wrong([1, {"a": object()}, [object()]])] == ["items[1].a", "items[2][0]"]


def test_a_text_is_no_list_of_items() -> None:
    assert wrong("abc") == [("items", "they are a list, not 'abc'")]


def test_more_than_the_input_limit_is_too_much() -> None:
    assert "more than 1048576" in wrong(["x" * 1_100_000])[0][1]
