"""An attempt that ends for want of quota pauses its run, whatever ends in the same commit."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.core.driver import World
from tests.unit.core.generators import PARAMETERS, Scenario
from wfcelery.core.states import RunStatus


def _task(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "action", **more}


@pytest.mark.parametrize(
    ("tasks", "attempts"),
    [
        ([_task("f", items=5, concurrency=2, on_error="continue")], {("f", 0): ["fail"], ("f", 1): ["quota"]}),
        ([_task("f", items=4, concurrency=2), _task("g", after={"f": None})], {("f", 1): ["quota", "quota"], ("f", 0): ["quota"]}),
        ([_task("a"), _task("b"), _task("c", after={"a": None})], {("b", -1): ["quota"]}),
    ],
    ids=["an item beside one that failed", "two items", "a step beside one that leads on"],
)
def test_what_ends_beside_it_lets_nothing_go(tasks: list[dict[str, Any]], attempts: dict[tuple[str, int], list[str]]) -> None:
    """The world looks for ready rows of a paused run after each commit."""
    for seed in range(60):
        world = World(Scenario({"parameters": dict.fromkeys(PARAMETERS, True), "tasks": tasks}, attempts, seed, keep=seed % 2 == 0))
        world.play()
        assert world.run.status is RunStatus.SUCCEEDED
        assert any(fact["fact"] == "step_put_off" for facts in world.history for fact in facts)
