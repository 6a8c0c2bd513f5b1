"""How many items of a fan-out a worker claims at a time, by how long those before them took."""

from __future__ import annotations

import pytest

from wfcelery.engine.grouping import GROUP_SECONDS, GROWTH, MOST, next_limit


def sizes(seconds: float) -> list[int]:
    """The groups of a fan-out each of whose items takes so long."""
    limits = [1]
    for _ in range(12):
        limits.append(next_limit(limits[-1], limits[-1], limits[-1] * seconds))
    return limits


def test_quick_items_fill_the_largest_group_after_two_commits() -> None:
    assert sizes(0.0001)[:4] == [1, GROWTH, MOST, MOST]
    assert sizes(0.0)[:3] == [1, GROWTH, MOST], "a clock that is too coarse to see them"


@pytest.mark.parametrize("seconds", [0.0003, 0.001, 0.004, 0.011, 0.024])
def test_a_group_of_like_items_is_never_planned_to_take_more_than_half_of_what_a_crash_may_repeat(seconds: float) -> None:
    assert max(sizes(seconds)) * seconds <= GROUP_SECONDS / 2


@pytest.mark.parametrize("seconds", [0.025, 0.05, 3.0])
def test_slow_items_are_claimed_one_by_one(seconds: float) -> None:
    assert set(sizes(seconds)) == {1}


def test_items_that_become_slow_halve_the_group() -> None:
    limits = [MOST]
    for _ in range(7):
        limits.append(next_limit(limits[-1], limits[-1], limits[-1] * 0.1))
    assert limits == [64, 32, 16, 8, 4, 2, 1, 1]


def test_the_few_that_are_left_say_what_each_takes_not_what_a_group_takes() -> None:
    assert next_limit(8, 2, 0.01) == 8
