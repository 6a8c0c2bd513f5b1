"""What can be stored comes back; what cannot is named."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from wfcelery.definition.spans import seconds
from wfcelery.definition.values import MISSING, as_text, decode, dumps, encode, for_template, loads, reference, references, resolve, walk
from wfcelery.errors import CannotCarry, ExpressionError, Failed, StepError

plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.datetimes(timezones=st.just(UTC))
    | st.dates()
    | st.times()
    | st.uuids()
    | st.binary()
)
keys = st.sampled_from(["$wf", "items", "keys", "a"]) | st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=20)


@given(values)
def test_what_is_stored_comes_back_through_json(value: object) -> None:
    assert decode(loads(dumps(encode(value)))) == value


@given(values)
def test_a_template_sees_plain_json(value: object) -> None:
    shown = for_template(encode(value))

    assert loads(dumps(shown)) == shown


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (float("nan"), ""),
        ({"a": [1, float("inf")]}, "a[1]"),
        ({"a": {"b": object()}}, "a.b"),
        ("\ud800", ""),
        (Decimal("NaN"), ""),
        (timedelta(seconds=1), ""),
        ({(1, 2): 3}, ""),
        ({1: "a", "1": "b"}, ""),
        ([10**5000], "[0]"),
    ],
)
def test_what_cannot_be_stored_is_named_by_its_path(value: object, path: str) -> None:
    with pytest.raises(CannotCarry) as told:
        encode(value)

    assert told.value.path == path


def test_a_value_that_contains_itself_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)

    with pytest.raises(CannotCarry, match="contains itself"):
        encode(endless)


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int


class Order(BaseModel):
    total: Decimal
    wait: timedelta
    colour: Colour


def test_models_dataclasses_enums_tuples_and_sets_become_what_json_has() -> None:
    stored = encode([Order(total=Decimal("9.50"), wait=timedelta(minutes=1), colour=Colour.RED), Point(1), (1, 2), {3}])

    assert stored == [{"total": {"$wf": ["decimal", "9.50"]}, "wait": "PT1M", "colour": "red"}, {"x": 1}, [1, 2], [3]]


def test_a_failed_item_comes_back_as_one() -> None:
    failed = Failed(3, Decimal(1), StepError("ValueError", None, "no"))

    assert decode(loads(dumps(encode(failed)))) == failed


def test_in_a_template_a_decimal_is_a_number_and_a_datetime_utc() -> None:
    moment = datetime(2030, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))

    assert for_template(encode([Decimal("9.50"), Decimal(900), moment])) == [9.5, 900, "2030-01-01T00:00:00+00:00"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("9.50"), "9.50"),
        ("a", "a"),
        (None, "null"),
        (True, "true"),
        ([1, "a"], '[1,"a"]'),
        (date(2030, 1, 2), "2030-01-02"),
        (time(1), "01:00:00"),
    ],
)
def test_inside_a_text_a_value_reads_as_json_would_and_a_decimal_keeps_its_digits(value: object, text: str) -> None:
    assert as_text(encode(value)) == text


def test_references_are_found_and_resolved() -> None:
    stored = {"a": [reference("task", "charge", "result", "total")], "b": reference("parameters", "order", "items", 0)}
    records = {"task": {"charge": {"result": {"total": 5}}}, "parameters": {"order": {"items": ["x"]}}}

    assert references(stored) == {"charge"}
    assert resolve(stored, lambda root, name: records[root].get(name, MISSING)) == {"a": [5], "b": "x"}


def test_a_reference_to_nothing_says_its_path() -> None:
    with pytest.raises(ExpressionError, match=r"\{\{ task\.a\.result\.zz \}\}: it is undefined"):
        resolve(reference("task", "a", "result", "zz"), lambda _root, _name: {"result": {}})


def test_keys_called_like_methods_are_data_and_marks_are_not_walked_into() -> None:
    assert walk({"items": {"keys": [7]}}, ("items", "keys", 0)) == 7
    assert walk(encode({"id": UUID(int=1)}), ("id", "hex")) is MISSING


@pytest.mark.parametrize(
    ("span", "length"),
    [(30, 30), ("30", 30), ("30s", 30), ("1.5h", 5400), ("2d", 172800), ("1d 12h", 129600), ("250ms", 0.25), (timedelta(minutes=5), 300)],
)
def test_a_span_is_seconds_however_it_is_written(span: str | float | timedelta, length: float) -> None:
    assert seconds(span) == length


@pytest.mark.parametrize("span", ["", "5 parsecs", "-1", -1, True, None, "1e9d", float("nan"), "10000000d"])
def test_what_is_no_span_is_refused_with_a_sentence(span: object) -> None:
    with pytest.raises(ValueError, match="span"):
        seconds(span)  # type: ignore[arg-type]
