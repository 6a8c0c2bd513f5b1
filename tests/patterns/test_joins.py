"""Patterns of those who do not wait for all: 9, 29, 30 and 32."""

from __future__ import annotations

import pytest

from tests.acceptance.eventually import eventually
from tests.patterns.conftest import Pattern


@pytest.mark.pattern(9)
def test_the_first_of_two_is_taken_and_the_other_comes_for_nothing(pattern: Pattern) -> None:
    run = pattern.start(to="the station", near=0, far=2)

    eventually(lambda: pattern.step(run, "leave") == "succeeded", within=20, what="the first taxi has left")
    assert pattern.step(run, "far") == "running"
    assert pattern.fleet.result(run) == "off to the station"
    assert (pattern.step(run, "near"), pattern.step(run, "far")) == ("succeeded", "succeeded")


@pytest.mark.pattern(29)
def test_the_first_of_two_ends_the_other(pattern: Pattern) -> None:
    run = pattern.start(whom="Ada", here=0, there=30)

    assert pattern.fleet.result(run) == "found, Ada"
    assert (pattern.step(run, "here"), pattern.step(run, "there")) == ("succeeded", "cancelled")


@pytest.mark.pattern(30)
def test_two_of_three_are_enough_and_the_third_finishes(pattern: Pattern) -> None:
    run = pattern.start(law="it", chair=0, treasurer=2, secretary=0)

    eventually(lambda: pattern.step(run, "enter_into_force") == "succeeded", within=20, what="two have signed")
    assert pattern.step(run, "treasurer") == "running"
    assert pattern.fleet.result(run) == "it is in force"
    assert pattern.step(run, "treasurer") == "succeeded"


@pytest.mark.pattern(32)
def test_two_of_three_are_enough_and_the_third_is_cancelled(pattern: Pattern) -> None:
    run = pattern.start(write="it", north=0, south=30, east=0)

    assert pattern.fleet.result(run) == "it is written"
    assert [pattern.step(run, name) for name in ("north", "south", "east")] == ["succeeded", "cancelled", "succeeded"]
