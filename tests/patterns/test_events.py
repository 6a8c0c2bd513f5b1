"""Patterns of what comes from outside: 23 and 24."""

from __future__ import annotations

import pytest

from tests.acceptance.eventually import eventually
from tests.patterns.conftest import Pattern


def send(pattern: Pattern, name: str, data: str, key: str) -> None:
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
