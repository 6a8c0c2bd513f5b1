"""Patterns of one activity that runs many times: 13 to 15, 26, 27 and 34 to 36."""

from __future__ import annotations

import pytest

from tests.acceptance.eventually import eventually
from tests.patterns.conftest import Pattern


@pytest.mark.pattern(13)
def test_as_many_instances_as_are_written_down(pattern: Pattern) -> None:
    assert pattern.fleet.result(pattern.start(case="it")) == ["Ada on it", "Bob on it", "Cyd on it"]


@pytest.mark.pattern(14)
def test_as_many_instances_as_the_run_has_found_out(pattern: Pattern) -> None:
    assert pattern.fleet.result(pattern.start(order=3)) == "3-0 is sound, 3-1 is sound, 3-2 is sound"
    assert pattern.fleet.result(pattern.start(order=0)) == ""


@pytest.mark.pattern(15)
def test_instances_are_added_while_others_are_under_way(pattern: Pattern) -> None:
    found = pattern.fleet.result(pattern.start(start="home"))

    assert found[0] == "home"
    assert sorted(found) == ["books", "home", "maps", "news", "novels", "shop"]


@pytest.mark.pattern(26)
def test_instances_that_are_too_late_are_withdrawn(pattern: Pattern) -> None:
    run = pattern.start(answer_after=[0, 0, 30, 30], time="1s")

    assert pattern.fleet.result(run) == "chosen"
    assert pattern.items(run, "ask") == ["succeeded", "succeeded", "cancelled", "cancelled"]


@pytest.mark.pattern(27)
def test_somebody_says_that_it_is_enough(pattern: Pattern) -> None:
    run = pattern.start(sign_after=[0, 0, 30, 30, 30, 0])
    under_way = ["succeeded", "succeeded", "running", "running", "running", "held"]
    eventually(lambda: pattern.items(run, "sign") == under_way, within=20, what="two have signed, three sign slowly")

    pattern.fleet.shell(f"complete_items({run!r}, 'sign')")

    assert pattern.fleet.result(run) == [0, 0, None, None, None, None]
    assert pattern.items(run, "sign") == ["succeeded", "succeeded", "cancelled", "cancelled", "cancelled", "skipped"]


@pytest.mark.pattern(34)
def test_the_run_goes_on_with_enough_and_the_others_finish(pattern: Pattern) -> None:
    run = pattern.start(take=[0, 3, 0])

    eventually(lambda: pattern.step(run, "print") == "succeeded", within=20, what="it is printed")
    assert pattern.items(run, "read") == ["succeeded", "running", "succeeded"]
    assert pattern.fleet.result(run) == [0, None, 0]
    assert pattern.items(run, "read") == ["succeeded", "succeeded", "succeeded"]


@pytest.mark.pattern(35)
def test_the_run_goes_on_with_enough_and_the_others_are_cancelled(pattern: Pattern) -> None:
    run = pattern.start(take=[0, 30, 0, 30])

    assert pattern.fleet.result(run) == [0, None, 0, None]
    assert pattern.items(run, "fetch") == ["succeeded", "cancelled", "succeeded", "cancelled"]


@pytest.mark.pattern(36)
def test_instances_are_added_until_there_is_enough(pattern: Pattern) -> None:
    run = pattern.start(witness="Ada")

    assert pattern.fleet.result(run) == ["Ada has spoken", "Ben has spoken", "Cleo has spoken"]
    assert pattern.items(run, "hear") == ["succeeded", "succeeded", "succeeded", "cancelled", "cancelled"]
