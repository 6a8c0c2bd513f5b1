"""Patterns of splitting and choosing, and of coming together again: 1 to 7 and 37."""

from __future__ import annotations

import pytest

from tests.patterns.conftest import Pattern


@pytest.mark.pattern(1)
def test_one_after_the_other(pattern: Pattern) -> None:
    assert pattern.fleet.result(pattern.start(to="Ada")) == "Dear Ada, stamped"


@pytest.mark.pattern(2)
def test_two_at_the_same_time(pattern: Pattern) -> None:
    assert pattern.fleet.result(pattern.start(title="news")) == ["News on paper", "News on the web"]


@pytest.mark.pattern(3)
def test_one_that_waits_for_two(pattern: Pattern) -> None:
    assert pattern.fleet.result(pattern.start(text="it")) == "it is lawful, it is cheap"


@pytest.mark.pattern(4)
def test_one_of_two(pattern: Pattern) -> None:
    large, small = pattern.start(amount=101), pattern.start(amount=100)

    assert [pattern.fleet.result(run) for run in (large, small)] == ["the manager signs 101", "the clerk signs 100"]
    assert (pattern.step(large, "clerk"), pattern.step(small, "manager")) == ("skipped", "skipped")


@pytest.mark.pattern(5)
def test_one_behind_whichever_of_two_it_was(pattern: Pattern) -> None:
    runs = [pattern.start(amount=7, card=card) for card in (True, False)]

    assert [pattern.fleet.result(run) for run in runs] == ["received by card 7", "received by cash 7"]


@pytest.mark.pattern(6)
@pytest.mark.parametrize(("hurt", "burning"), [(True, True), (True, False), (False, True), (False, False)])
def test_any_of_two(pattern: Pattern, hurt: bool, burning: bool) -> None:
    ambulance = "an ambulance for Elm Row" if hurt else None
    engine = "a fire engine for Elm Row" if burning else None

    assert pattern.fleet.result(pattern.start(street="Elm Row", hurt=hurt, burning=burning)) == [ambulance, engine]


@pytest.mark.pattern(7)
@pytest.mark.parametrize(
    ("hungry", "dancing", "bill"),
    [(True, True, "food for 3 and music for 3"), (True, False, "food for 3"), (False, True, "music for 3"), (False, False, "nothing")],
)
def test_one_that_waits_for_as_many_as_there_are(pattern: Pattern, hungry: bool, dancing: bool, bill: str) -> None:
    assert pattern.fleet.result(pattern.start(guests=3, hungry=hungry, dancing=dancing)) == bill


@pytest.mark.pattern(37)
@pytest.mark.parametrize(
    ("dear", "abroad", "sent"),
    [(True, True, "declared and 20 g insured"), (True, False, "20 g insured"), (False, True, "20 g"), (False, False, "20 g")],
)
def test_one_behind_ways_of_different_lengths(pattern: Pattern, dear: bool, abroad: bool, sent: str) -> None:
    assert pattern.fleet.result(pattern.start(grams=20, dear=dear, abroad=abroad)) == sent
