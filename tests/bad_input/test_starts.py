"""Starts and look-ups with options, names and inputs that cannot be meant: told at once, and no row is written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.bad_input.rows import counted
from tests.bad_input.test_payloads import REFUSED
from wfcelery import get_run, once, start_workflow, step, workflow
from wfcelery.errors import AuthoringError, InvalidInput, InvalidText, NotFound, WfceleryError
from wfcelery.store.database import Database

CANARY = "canary-7f3a"
FAR_WEST = timezone(timedelta(hours=-12))


@step
def same(x: Any) -> Any:
    return x


@workflow
def anything(x: Any) -> Any:
    return same(x)


@workflow
def counting(n: int) -> Any:
    return same(n)


BAD_OPTIONS: list[tuple[str, Any]] = [
    *(("key", value) for value in (5, "", "k" * 2_000, "a\x00", "\ud800", b"x", ["a"], float("nan"), True)),
    *(("on_conflict", value) for value in ("replace", 5, None, ["return"])),
    *(("queue", value) for value in (5, "", "q" * 300, "\x00", "\ud800", ["a"])),
    *(("priority", value) for value in ("high", -1, 256, 10**30, float("nan"), 1.5, True, [1])),
    *(("delay", value) for value in (-1, "5 parsecs", "", "\x00", float("nan"), float("inf"), 10**5_000, "9" * 100_000, timedelta(-1))),
    *(("delay", value) for value in (timedelta.max, datetime.now(UTC), [1], b"5", True, object())),
    *(("deadline", value) for value in (-1, "x", datetime.min, datetime.max, datetime.max.replace(tzinfo=FAR_WEST), date(2030, 1, 1))),  # noqa: DTZ901
    *(("tags", value) for value in ("abc", 5, [5], ["\x00"], ["\ud800"], ["x" * 300], [None], [["a"]], {"a": 1}, ["t"] * 101, iter("a"))),
    *(("organization_id", value) for value in (5, "", "\x00", "o" * 300, "\ud800", ["a"], b"x")),
    ("tag", ["a"]),
    ("Key", "a"),
]


@pytest.mark.parametrize(("option", "value"), BAD_OPTIONS, ids=lambda given: given if isinstance(given, str) and len(given) < 20 else "")
def test_an_option_that_cannot_be_meant_is_told_by_its_name(option: str, value: Any, sqlite_database: Database) -> None:
    """S12: what one database would take and the other refuse is refused before either is asked."""
    before = counted(sqlite_database)
    with pytest.raises(InvalidInput) as told:
        start_workflow("anything", {"x": 1}, **{option: value})
    assert [name for name, _ in told.value.errors] == [option]
    assert len(str(told.value)) < 400
    assert counted(sqlite_database) == before


def test_what_may_be_asked_for_is_still_taken_on_each_database(database: Database) -> None:
    run = start_workflow(
        "anything",
        {"x": "a\x00b"},
        key="é" * 512,
        queue="q",
        priority=255,
        delay="1d",
        deadline=datetime(2199, 12, 31, tzinfo=FAR_WEST),
        tags=["a"],
        organization_id="acme",
        on_conflict="raise",
    )
    assert run.status() == "pending"
    assert get_run("é" * 512) == run
    nothing: dict[str, Any] = dict.fromkeys(("key", "queue", "priority", "delay", "deadline", "tags"))
    assert start_workflow("anything", {"x": 1}, **nothing).status() == "pending"


@pytest.mark.parametrize("name", REFUSED)
def test_an_input_that_no_row_can_hold_is_told_by_its_place(name: str, sqlite_database: Database) -> None:
    """S12, F60."""
    before = counted(sqlite_database)
    starts: list[Callable[[], object]] = [
        lambda: start_workflow("anything", {"x": [REFUSED[name]]}),
        lambda: start_workflow(anything.bind([REFUSED[name]])),
    ]
    for start in starts:
        with pytest.raises(InvalidInput) as told:
            start()
        assert told.value.errors[0][0].startswith("x")
        assert CANARY not in str(told.value)
    assert counted(sqlite_database) == before


@pytest.mark.parametrize(
    "given", [5, "abc", [1], [("x", 1)], {1: 2}, {"x": 1, None: 2}, {"x": 1, "y" * 200_000: 1}, {"y": 1}, True, b"x"], ids=repr
)
def test_an_input_that_is_no_names_and_values_is_told(given: Any, sqlite_database: Database) -> None:
    before = counted(sqlite_database)
    with pytest.raises(InvalidInput) as told:
        start_workflow("anything", given)
    assert len(str(told.value)) < 400
    assert counted(sqlite_database) == before


def test_an_input_of_more_than_one_mib_is_told_on_each_database(database: Database) -> None:
    """S12, F60."""
    before = counted(database)
    with pytest.raises(InvalidInput, match="more than 1048576"):
        start_workflow("anything", {"x": CANARY * 100_000})
    assert counted(database)["wf_run"] == before["wf_run"]


@pytest.mark.parametrize("name", [None, 5, b"x", ["a"], anything, same], ids=repr)
def test_what_is_no_workflow_is_told(name: Any, sqlite_database: Database) -> None:
    with pytest.raises(AuthoringError, match="takes a bound workflow"):
        start_workflow(name, {"x": 1})


def test_a_name_that_nothing_has_is_not_found_on_each_database(database: Database) -> None:
    """S26."""
    for name in ("", "\x00", "\ud800", "%", "_" * 40, "' or 1=1", "n" * 100_000):
        with pytest.raises((NotFound, InvalidText)) as not_started:
            start_workflow(name, {})
        with pytest.raises(NotFound) as not_found:
            get_run(name)
        assert max(len(str(not_started.value)), len(str(not_found.value))) < 200


@pytest.mark.parametrize("given", [None, 5, b"ab", ["a"]], ids=repr)
def test_a_run_is_named_by_a_text(given: Any, sqlite_database: Database) -> None:
    with pytest.raises(AuthoringError, match="are texts"):
        get_run(given)


@pytest.mark.parametrize("key", [5, "", "\x00", "\ud800", "k" * 2_000, None], ids=lambda key: repr(key)[:12])
def test_once_takes_a_key_that_is_a_text(key: Any, sqlite_database: Database) -> None:
    with pytest.raises(InvalidInput, match="key"):
        once(key, lambda: pytest.fail("it was run"))
    assert counted(sqlite_database)["wf_idempotency"] == 0


@pytest.mark.parametrize("reason", ["\ud800", "\x00", "r" * 2_000, 5])
def test_the_reason_of_a_cancel_is_a_text_that_can_be_kept(reason: Any, sqlite_database: Database) -> None:
    run = start_workflow("anything", {"x": 1})
    with pytest.raises(InvalidInput, match="reason"):
        run.cancel(reason)
    assert counted(sqlite_database)["wf_inbox"] == 0


options = st.fixed_dictionaries(
    {},
    optional={
        name: st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=5)
        | st.timedeltas()
        | st.datetimes()
        | st.lists(st.text(max_size=3))
        for name in ("key", "on_conflict", "queue", "priority", "delay", "deadline", "tags", "organization_id")
    },
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(options)
def test_any_options_start_one_run_or_write_nothing(sqlite_database: Database, options: dict[str, Any]) -> None:
    before = counted(sqlite_database)["wf_run"]
    try:
        run = start_workflow("anything", {"x": 1}, **options)
    except WfceleryError:
        assert counted(sqlite_database)["wf_run"] == before
        return
    assert run.status() == "pending"
    assert get_run(run.id) == run
