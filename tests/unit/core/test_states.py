"""The tables of transitions, and the page that is written from them."""

from __future__ import annotations

from pathlib import Path

from wfcelery.core.states import RUN_ENDED, RUN_TABLE, STEP_ENDED, STEP_OPEN, STEP_TABLE, WAIT_TABLE, RunStatus, StepStatus, WaitStatus
from wfcelery.core.tables import page

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "states.md"


def test_every_status_has_a_place_in_its_table() -> None:
    assert RUN_TABLE.keys() == {None, *RunStatus}
    assert STEP_TABLE.keys() == {None, *StepStatus}
    assert WAIT_TABLE.keys() == {None, *WaitStatus}


def test_every_status_can_be_reached() -> None:
    assert {to for ways in RUN_TABLE.values() for after in ways.values() for to in after} == set(RunStatus)
    assert {to for ways in STEP_TABLE.values() for after in ways.values() for to in after} == set(StepStatus)
    assert {to for ways in WAIT_TABLE.values() for after in ways.values() for to in after} == set(WaitStatus)


def test_only_a_retry_what_undoes_it_or_a_person_leads_out_of_an_end() -> None:
    assert {word for status in RUN_ENDED for word in RUN_TABLE[status]} == {
        "retry",
        "retry of a hook",
        "retry of a compensation or a hook",
    }
    assert {word for status in STEP_ENDED for word in STEP_TABLE[status]} == {
        "retry",
        "decided by hand",
        "reopened by a retry",
        "its compensation succeeded",
    }


def test_a_step_is_blocked_open_or_over() -> None:
    assert STEP_OPEN | STEP_ENDED | {StepStatus.BLOCKED} == set(StepStatus)
    assert not STEP_OPEN & STEP_ENDED


def test_the_page_says_what_the_tables_say() -> None:
    assert PAGE.read_text() == page(), "run `make docs`"
