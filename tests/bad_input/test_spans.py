"""Lengths and moments of time, from wherever they come: a number of seconds, or a sentence that says how one is written."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.machine import Machine
from tests.store.rows import look
from wfcelery.definition.spans import seconds
from wfcelery.definition.values import loads
from wfcelery.errors import InvalidSpan
from wfcelery.store import migrations
from wfcelery.store.database import Database

CANARY = "canary-7f3a"


@pytest.mark.parametrize(
    "span",
    [
        "",
        "x",
        "5 parsecs",
        "1.s",
        ".5s",
        "1s\x00",
        "9" * 1_000_000,
        "9" * 400 + "w",
        "\ud800",
        b"5",
        [1],
        {},
        object(),
        10**5_000,
        -(10**5_000),
    ],
    ids=lambda span: type(span).__name__,
)
def test_what_is_no_span_is_a_short_sentence(span: Any) -> None:
    with pytest.raises(InvalidSpan) as told:
        seconds(span)
    assert len(str(told.value)) < 150
    assert told.value.exit_code == 2


@given(
    st.text(st.sampled_from("0123456789.smhdw e-+\x00\u0661"), max_size=12)
    | st.integers()
    | st.floats()
    | st.timedeltas()
    | st.booleans()
    | st.none()
)
def test_any_span_is_a_bounded_number_of_seconds_or_a_sentence(span: Any) -> None:
    try:
        length = seconds(span)
    except InvalidSpan:
        return
    assert 0 <= length <= timedelta(days=366 * 100).total_seconds()


SLEEPER = """
name: sleeper
vars: {{given: "{given}"}}
tasks:
  - {{name: nap, type: sleep, {key}: "{{{{ vars.given }}}}"}}
  - {{name: then, action: shop.then, after: [nap]}}
"""


@pytest.mark.parametrize(
    ("key", "given"),
    [
        ("duration", CANARY),
        ("duration", "-1"),
        ("until", CANARY),
        ("until", "9999-12-31T23:59:59-12:00"),
        ("until", "0001-01-01T00:00:00+12:00"),
    ],
)
def test_a_sleep_of_no_length_fails_its_step_and_the_row_does_not_quote_it(key: str, given: str, sqlite_url: str) -> None:
    """F61: the failure is that step's, and the run can still be read."""
    database = Database(sqlite_url)
    migrations.upgrade(database)
    machine = Machine(database, SLEEPER.format(key=key, given=given))
    assert machine.work() == "failed"
    assert machine.problems() == []
    [(error,)] = look(database, "select error from wf_step where run = :run and name = 'nap'", run=machine.run)
    assert loads(error)["type"] == "ExpressionError"
    assert CANARY not in error
    database.close()
