"""Patterns of what may not happen at the same time: 17, 39 and 40."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.patterns.conftest import Pattern


def in_turn(parts: list[dict[str, Any]]) -> list[str]:
    """What was done, in its order, none of it while another was under way."""
    ordered = sorted(parts, key=lambda part: part["began"])
    assert all(earlier["ended"] <= later["began"] for earlier, later in pairwise(ordered))
    return [part["what"] for part in ordered]


@pytest.mark.pattern(17)
def test_several_in_a_partial_order_and_no_two_at_once(pattern: Pattern) -> None:
    runs = [pattern.start(seconds=0.05) for _ in range(2)]
    for run in runs:
        order = in_turn(pattern.fleet.result(run))
        assert sorted(order) == ["blood", "bones", "weight"]
        assert order.index("blood") < order.index("bones")


@pytest.mark.pattern(39)
def test_two_sections_of_which_one_is_under_way_at_a_time(pattern: Pattern) -> None:
    runs = [pattern.start(seconds=0.05) for _ in range(2)]
    parts = [part | {"run": run} for run in runs for part in pattern.fleet.result(run)]
    in_turn(parts)
    ordered = [(part["run"], part["what"].split()[0]) for part in sorted(parts, key=lambda part: part["began"])]
    assert ordered[0::2] == ordered[1::2], "whoever has begun goes on to its end"


@pytest.mark.pattern(40)
def test_several_in_any_order_and_no_two_at_once(pattern: Pattern) -> None:
    run = pattern.start(seconds=0.05)
    assert sorted(in_turn(pattern.fleet.result(run))) == ["brakes", "lights", "oil"]
