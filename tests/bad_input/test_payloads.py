"""Inputs and results: any Python object is stored so that it comes back, or refused by its path, before anything is recorded."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.engine.machine import Machine
from tests.store.rows import look
from tests.unit.worker.test_calling import House
from wfcelery.core.decision import RingRun
from wfcelery.definition.values import as_text, decode, dumps, encode, for_template, loads, resolve, walk
from wfcelery.errors import CannotCarry, Failed, StepError
from wfcelery.store import migrations
from wfcelery.store.database import Database

CANARY = "canary-7f3a"
LONELY = "\ud800"


class Word(str):
    __slots__ = ()


class Halved(Enum):
    SURROGATE = LONELY


class Broken(Mapping[str, Any]):
    """A mapping of the author's whose own code fails."""

    def __getitem__(self, key: str) -> Any:
        raise KeyError(f"{CANARY} {key}")

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


@dataclass
class Node:
    child: Any = None


class Model(BaseModel):
    child: Any = None


def nested(depth: int, around: Any = None, key: str | None = None) -> Any:
    value = around
    for _ in range(depth):
        value = [value] if key is None else {key: value}
    return value


def endless(kind: str) -> Any:
    made: Any
    if kind == "list":
        made = []
        made.append(made)
    elif kind == "dict":
        made = {}
        made["a"] = made
    else:
        made = Node() if kind == "dataclass" else Model()
        made.child = made
    return made


class Growing(list[int]):
    """A list that never ends."""

    def __iter__(self) -> Iterator[int]:
        return count()


class Nameless(type):
    """Of such a class nobody can read the name."""

    @property
    def __name__(cls) -> str:
        raise RuntimeError(CANARY)


class Unnamed(metaclass=Nameless):
    pass


def shared(levels: int) -> Any:
    """A few lists, each twice in the next one: small in memory, and 2 to so many values once they are written."""
    value: Any = []
    for _ in range(levels):
        value = [value, value]
    return value


REFUSED: dict[str, Any] = {
    "lists that share their parts": shared(40),
    "a model around them": Model(child=shared(40)),
    "a list that never ends": Growing([1]),
    "a value of a class without a name": Unnamed(),
    "NaN": float("nan"),
    "infinity": float("-inf"),
    "Decimal NaN": Decimal("NaN"),
    "signalling NaN": Decimal("sNaN"),
    "half a surrogate pair": LONELY,
    "half a pair in a key": {LONELY: 1},
    "half a pair in a key that is a subclass": {Word(LONELY): 1},
    "half a pair in a key that is an enum": {Halved.SURROGATE: 1},
    "half a pair in a failed item's error": Failed(1, None, StepError("x", None, LONELY)),
    "200,000 digits": 10**200_000,
    "200,000 digits in a key": {10**200_000: 1},
    "depth 10,000": nested(10_000),
    "depth 10,000 of dicts": nested(10_000, key="a"),
    "depth by marks": nested(60, key="$wf"),
    "depth below a failed item": Failed(1, nested(121), StepError("x", None, "")),
    "an endless list": endless("list"),
    "an endless dict": endless("dict"),
    "an endless dataclass": endless("dataclass"),
    "an endless model": endless("model"),
    "a mapping that fails": Broken(),
    "an object": object(),
    "a generator": (each for each in "ab"),
    "a range": range(10**12),
    "a class": int,
    "a function": print,
    "a complex number": 1j,
    "an exception": ValueError(CANARY),
    "keys that are tuples": {(1, 2): 3},
    "keys that are null": {None: 1},
    "keys that become one": {1: "a", "1": "b"},
    "a bound method": "".join,
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED.keys())
def test_what_no_row_can_hold_is_refused_by_its_path_and_never_quoted(value: Any) -> None:
    """S12, F59."""
    with pytest.raises(CannotCarry) as told:
        encode({"order": [value]})
    assert str(told.value).startswith(("order[0]", "the value"))
    assert len(str(told.value)) < 300
    assert CANARY not in str(told.value)


KEPT: dict[str, Any] = {
    "NUL": "a\x00b",
    "NUL in a key": {"a\x00": 1},
    "4,000 digits": 10**3_999,
    "an exponent of a million": Decimal("1e999999"),
    "the deepest list": nested(120),
    "the deepest marks": nested(39, key="$wf"),
    "a decimal at the deepest place": nested(119, Decimal("1.5")),
    "what looks like a reference": {"$wf": ["ref", "task", "charge", "result"]},
    "what looks like a broken mark": {"$wf": ["failed", 5]},
    "the first moment": dt.datetime.min.replace(tzinfo=dt.timezone(dt.timedelta(hours=14))),
    "every second byte": b"xyz",
    "bidirectional marks": "\u202eabc\u2066",
}


@pytest.mark.parametrize("value", KEPT.values(), ids=KEPT.keys())
def test_what_can_be_kept_comes_back_and_templates_can_show_it(value: Any) -> None:
    """S12."""
    stored = encode(value)
    assert decode(loads(dumps(stored))) == value
    for_template(stored)
    as_text(stored)
    walk(stored, ("a", 0))
    assert resolve(stored, lambda root, name: pytest.fail(f"{root} {name} is data, no reference")) == stored


def test_a_slice_of_memory_is_kept_as_its_bytes() -> None:
    assert decode(encode(memoryview(b"abcdef")[::2])) == b"ace"


texts = st.text(st.characters() | st.sampled_from(["\x00", LONELY, "\udfff", "\u202e"]), max_size=6) | st.just("$wf")
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | texts
    | st.binary(max_size=4)
    | st.decimals()
    | st.datetimes(timezones=st.sampled_from([None, dt.UTC, dt.timezone(dt.timedelta(hours=-14))]))
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.complex_numbers()
    | st.sampled_from([object(), int, Halved.SURROGATE, Broken(), Node(LONELY), Model(child=1), ..., NotImplemented, range(3)])
    | st.builds(lambda: 10**5_000)
)
keys = texts | st.sampled_from(["$wf", 1, None, True, 1.5, (1,), Halved.SURROGATE, Word("a")]) | st.builds(lambda: 10**5_000)
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner, max_size=3)
        | st.builds(Node, inner)
        | st.builds(lambda item: Failed(0, item, StepError("E", None, "no")), inner)
        | inner.map(lambda item: {"$wf": ["literal", item]})
        | inner.map(lambda item: iter([item]))
    ),
    max_leaves=8,
)


@given(anything)
def test_any_object_is_stored_so_that_it_can_be_read_or_refused(value: object) -> None:
    """S12, F59."""
    try:
        stored = encode(value)
    except CannotCarry:
        return
    text = dumps(stored)
    text.encode("utf-8")
    assert loads(text) == stored
    decode(stored)
    for_template(stored)
    as_text(stored)


ONE_STEP = """
name: one
tasks:
  - {name: give, action: give}
output: "{{ task.give.result }}"
"""


@pytest.mark.promise("A19")
def test_of_an_error_of_any_length_500_characters_are_kept_and_no_trace(sqlite_url: str) -> None:
    database, house = Database(sqlite_url), House()
    migrations.upgrade(database)

    def shout() -> None:
        raise RuntimeError("x" * 10_000)

    house.step("give", shout)
    with house.app:
        machine = Machine(database, ONE_STEP, lambda machine, call: house.installation.caller.call(call))
        machine.rings.append(RingRun("default", machine.run, "celery"))
        machine.answer()
        assert (machine.status(), machine.problems()) == ("failed", [])
    kept = [loads(error) for (error,) in look(database, "select error from wf_step")]
    kept += [loads(error) for (error,) in look(database, "select error from wf_dead_letter")]
    assert [(error["type"], error["message"][:3], len(error["message"])) for error in kept] == [("RuntimeError", "xxx", 500)] * 2
    tables = ("wf_run", "wf_step", "wf_history", "wf_dead_letter", "wf_inbox")
    stored = repr([look(database, f"select * from {table}") for table in tables])
    assert "Traceback" not in stored
    assert __file__ not in stored
    database.close()


@pytest.mark.promise("A19")
def test_a_result_that_no_row_can_hold_fails_its_step_in_the_same_commit_and_is_not_tried_again(sqlite_url: str) -> None:
    """S12, F59: the effect is not repeated, and no row holds the value."""
    database, house = Database(sqlite_url), House()
    migrations.upgrade(database)
    given: list[Any] = []
    house.step("give", lambda: given[-1])
    with house.app:
        for name, value in {**REFUSED, "two MiB": CANARY * 200_000}.items():
            given.append(value)
            machine = Machine(database, ONE_STEP, lambda machine, call: house.installation.caller.call(call))
            machine.rings.append(RingRun("default", machine.run, "celery"))
            machine.answer()
            assert (name, machine.status(), machine.calls["give"], machine.problems()) == (name, "failed", 1, [])
            [(error,)] = look(database, "select error from wf_step where run = :run", run=machine.run)
            assert loads(error)["code"] == "bad_result", name
    tables = ("wf_run", "wf_step", "wf_history", "wf_dead_letter", "wf_inbox")
    assert CANARY not in repr([look(database, f"select * from {table}") for table in tables])
    database.close()
