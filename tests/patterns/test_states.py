"""Patterns of what may begin, and go on, in which state of the run: 18, 19 and 25."""

from __future__ import annotations

import pytest

from tests.acceptance.eventually import eventually
from tests.patterns.conftest import Pattern


@pytest.mark.pattern(18)
def test_what_comes_too_early_waits_for_its_milestone(pattern: Pattern) -> None:
    run = pattern.start(booking=1, leaves_in="30s", asked="0s")

    eventually(lambda: pattern.step(run, "change") == "blocked", within=20, what="somebody has asked before it was booked")
    eventually(lambda: pattern.step(run, "change") == "succeeded", within=20, what="it is changed as soon as it is booked")


@pytest.mark.pattern(18)
def test_what_comes_too_late_for_its_milestone_is_left_out(pattern: Pattern) -> None:
    late, early = pattern.start(booking=0, leaves_in="0s", asked="1s"), pattern.start(booking=0, leaves_in="1s", asked="0s")

    assert pattern.fleet.result(late) is None
    assert (pattern.step(late, "leave"), pattern.step(late, "change")) == ("succeeded", "skipped")
    assert pattern.fleet.result(early) == "seat 2"


@pytest.mark.pattern(19)
def test_one_step_is_withdrawn_and_the_run_goes_on(pattern: Pattern) -> None:
    run = pattern.start(seconds=30)
    eventually(lambda: (pattern.step(run, "press"), pattern.step(run, "bank")) == ("running", "succeeded"), within=20)

    pattern.fleet.run("runs", "cancel", run, "--step", "press", "--reason", "too slow")

    assert pattern.fleet.result(run) == "accepted"
    assert pattern.step(run, "press") == "cancelled"


@pytest.mark.pattern(25)
def test_a_part_of_the_run_is_called_off(pattern: Pattern) -> None:
    run = pattern.start(house=30, memory=1)

    assert pattern.fleet.result(run) == "they were in the car"
    assert [pattern.step(run, name) for name in ("house", "map", "garden")] == ["cancelled", "skipped", "skipped"]


@pytest.mark.pattern(25)
def test_what_has_ended_is_not_called_off(pattern: Pattern) -> None:
    run = pattern.start(house=0, memory=2)

    assert pattern.fleet.result(run) == "they were in the car"
    assert [pattern.step(run, name) for name in ("house", "map", "garden")] == ["succeeded"] * 3
