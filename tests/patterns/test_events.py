"""Patterns of what comes from outside: 16, 23 and 24."""

from __future__ import annotations

import pytest

from tests.acceptance.eventually import eventually
from tests.patterns.conftest import Pattern


def send(pattern: Pattern, name: str, data: object, key: str) -> None:
    pattern.fleet.shell(f"import wfcelery\nwfcelery.send_event({name!r}, {data!r}, key={key!r})")


@pytest.mark.pattern(23)
def test_a_transient_event_is_heard_by_who_waits_and_lost_on_who_comes_later(pattern: Pattern) -> None:
    house = f"transient {pattern.spelling}"
    send(pattern, "doorbell", "nobody", house)
    run = pattern.start(house=house)
    eventually(lambda: pattern.step(run, "bell") == "waiting", within=20, what="somebody is at home")
    send(pattern, "doorbell", "Ada", house)

    assert pattern.fleet.result(run) == "come in, Ada"


@pytest.mark.pattern(24)
def test_a_persistent_event_waits_for_who_comes_later(pattern: Pattern) -> None:
    house = f"persistent {pattern.spelling}"
    send(pattern, "letter", "hello", house)
    early, late = pattern.start(house=house), None
    assert pattern.fleet.result(early) == "it says hello"
    late = pattern.start(house=house)
    eventually(lambda: pattern.step(late, "letter") == "waiting", within=20, what="the box is empty")
    send(pattern, "letter", "again", house)

    assert pattern.fleet.result(late) == "it says again"


@pytest.mark.pattern(16)
def test_what_comes_first_chooses_and_what_comes_second_is_not_heard(pattern: Pattern) -> None:
    order = f"deferred {pattern.spelling}"
    run = pattern.start(order=order, patience="1h")
    eventually(lambda: pattern.step(run, "patience") == "waiting", within=20, what="the customer may choose")
    send(pattern, "payment", 9, order)
    assert pattern.fleet.result(run) == "a ticket for 9"
    assert {name: pattern.step(run, name) for name in ("payment", "refusal", "patience", "give_back")} == {
        "payment": "succeeded",
        "refusal": "cancelled",
        "patience": "cancelled",
        "give_back": "skipped",
    }


@pytest.mark.pattern(16)
def test_where_nobody_chooses_the_time_does(pattern: Pattern) -> None:
    late, refused = (
        pattern.start(order=f"late {pattern.spelling}", patience="0s"),
        pattern.start(order=f"refused {pattern.spelling}", patience="1h"),
    )
    eventually(lambda: pattern.step(refused, "refusal") == "waiting", within=20, what="the customer may choose")
    send(pattern, "refusal", None, f"refused {pattern.spelling}")
    assert pattern.fleet.result(late) == "the seat is free: late"
    assert pattern.fleet.result(refused) == "the seat is free: refused"
