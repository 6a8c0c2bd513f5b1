"""Schedules that cannot be meant: each fault is told by the name of its option, all together, and nothing is written."""

from __future__ import annotations

from typing import Any

import pytest

from tests.bad_input.rows import counted
from wfcelery import AuthoringError, InvalidSchedule, schedule, step, workflow
from wfcelery.store.database import Database

LONG = "x" * 2_000
NO_TEXT = "half of a pair: \ud800"
RUBBISH: list[Any] = [NO_TEXT, LONG, "", 0, -1, 1.5, True, float("nan"), 10**400, b"x", [], [1], {}, {"a": 1}, object(), "nul \x00"]
OPTIONS = ("cron", "every", "timezone", "overlap", "catch_up", "slot_as", "queue", "priority", "tags", "deadline", "organization_id")
MEANT = {"every": (1,), "priority": (0,), "tags": ([],), "deadline": (0, 1.5)}  # of these values some options can be meant


@step
def chore(region: str) -> str:
    return region


@workflow
def chores(region: str) -> str:
    return chore(region)


@pytest.mark.parametrize("option", OPTIONS)
def test_whatever_stands_for_an_option_is_told_by_its_name(option: str, sqlite_database: Database) -> None:
    before = counted(sqlite_database)
    for value in RUBBISH:
        if repr(value) in map(repr, MEANT.get(option, ())):
            continue
        said = {"every": "1h"} | ({"every": None} if option == "cron" else {}) | {option: value}
        with pytest.raises(InvalidSchedule) as told:
            schedule("x", chores.bind("eu"), **said)
        assert option in {where for where, _ in told.value.errors}, (value, str(told.value))
        assert len(str(told.value)) < 1_000
    assert counted(sqlite_database) == before


def test_all_faults_are_told_together(sqlite_database: Database) -> None:
    before = counted(sqlite_database)
    with pytest.raises(InvalidSchedule) as told:
        schedule(LONG, "chores", {"region": 7, "reigon": NO_TEXT}, cron="no", timezone="Mars", overlap="maybe", slot_as="day", crn="x")  # type: ignore[call-arg, arg-type]
    places = {where for where, _ in told.value.errors}
    assert places >= {"name", "cron", "timezone", "overlap", "slot_as", "crn", "input.reigon", "input.region"}
    assert counted(sqlite_database) == before


@pytest.mark.parametrize("name", [NO_TEXT, LONG, "", 7, None, "nul \x00"])
def test_a_name_is_a_text_that_every_database_keeps(name: Any, sqlite_database: Database) -> None:
    before = counted(sqlite_database)
    with pytest.raises(InvalidSchedule, match="name: "):
        schedule(name, chores.bind("eu"), every="1h")
    assert counted(sqlite_database) == before


def test_an_input_that_is_too_large_is_refused(sqlite_database: Database) -> None:
    with pytest.raises(InvalidSchedule, match="more than"):
        schedule("large", "chores", {"region": "x" * 2_000_000}, every="1h")


def test_what_is_no_workflow_is_refused(sqlite_database: Database) -> None:
    for what in (chores, None, 7):
        with pytest.raises(AuthoringError, match=r"x\.bind"):
            schedule("x", what, every="1h")  # type: ignore[arg-type]
    with pytest.raises(AuthoringError, match="third argument"):
        schedule("x", chores.bind("eu"), {"region": "eu"}, every="1h")
