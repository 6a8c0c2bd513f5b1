"""What a region's end finds of its steps, wherever each of them stands: in the same commit nothing of it is open any more."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.core.driver import World
from tests.unit.core.generators import PARAMETERS, Scenario
from wfcelery.core.events import Begun, PauseAsked
from wfcelery.core.states import StepStatus


def _task(name: str, kind: str = "action", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, **more}


def _world(*region: dict[str, Any]) -> World:
    """`end` calls off all of the region but what only stands behind it; it is under way."""
    tasks = [*region, _task("end", cancels=[task["name"] for task in region if task["name"] != "apart"])]
    world = World(Scenario({"parameters": dict.fromkeys(PARAMETERS, True), "tasks": tasks}, keep=False))
    world.tell(Begun())
    world.claim("end")
    return world


REGIONS = [
    pytest.param([_task("a")], "ready", "cancelled", id="ready"),
    pytest.param([_task("a", "sleep")], "waiting", "cancelled", id="asleep"),
    pytest.param([_task("a", "workflow")], "waiting", "cancelled", id="a call whose child runs"),
    pytest.param([_task("a", items=3, concurrency=1)], "waiting", "cancelled", id="a fan-out"),
    pytest.param([_task("apart"), _task("a", after={"apart": None})], None, "skipped", id="not reached"),
]


@pytest.mark.parametrize(("region", "before", "after"), REGIONS)
def test_what_is_called_off_is_over_in_that_commit(region: list[dict[str, Any]], before: str | None, after: str) -> None:
    world = _world(*region)
    row = world.named("a")
    assert (None if row is None else str(row.status)) == before
    world.end("end")
    assert str(world.tasks()["a"].status) == after


def test_what_is_executed_is_fenced() -> None:
    world = _world(_task("a"))
    world.claim("a")
    world.end("end")
    assert world.tasks()["a"].status is StepStatus.CANCELLED


def test_what_a_pause_holds_is_over_too() -> None:
    world = _world(_task("a"))
    world.tell(PauseAsked("wait"))
    assert world.tasks()["a"].status is StepStatus.HELD
    world.end("end")
    assert world.tasks()["a"].status is StepStatus.CANCELLED


def test_a_join_that_one_way_has_come_to_is_over_too() -> None:
    world = _world(_task("apart"), _task("also", "sleep"), _task("a", after={"apart": None, "also": None}))
    world.claim("apart")
    world.end("apart")
    assert world.tasks()["a"].status is StepStatus.BLOCKED
    world.end("end")
    assert world.tasks()["a"].status is StepStatus.CANCELLED
