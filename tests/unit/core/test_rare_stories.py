"""Stories that random examples came to once in thousands: each in many orders, the one that was wrong among them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.core.driver import World
from tests.unit.core.generators import BROKEN, PARAMETERS, Scenario
from wfcelery.core.events import Begun, TurnedAway
from wfcelery.core.states import RunStatus

ORDERS = 40


def _task(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "action", **more}


SLEEP = {"name": "s", "type": "sleep"}
STORIES = [
    pytest.param(
        [SLEEP, _task("a", unless_reached=["s"])],
        {},
        {"pause_after": 1},
        id="a kept step is handed back because of a pause, and its milestone has been reached since",
    ),
    pytest.param(
        [_task("a"), _task("b"), _task("c", cancels=["b"])],
        {("b", -1): ["fail"]},
        {"retries": 2},
        id="a step fails in the commit that calls it off, and somebody retries it",
    ),
    pytest.param(
        [_task("a", when="no"), _task("b", items=BROKEN), {"name": "e", "type": "end", "after": {"a": None}}],
        {},
        {"retries": 1},
        id="a run that is reopened comes to its end before what was retried can begin",
    ),
    pytest.param(
        [
            _task("a"),
            {"name": "w", "type": "workflow", "needs": ["a"]},
            _task("j", after={"a": None, "w": None}, join=1, cancel_rest=True),
        ],
        {},
        {},
        id="a join closes a call in the commit in which its child is born",
    ),
]


@pytest.mark.parametrize(("tasks", "attempts", "more"), STORIES)
def test_a_rare_story_comes_out_as_the_rules_say(
    tasks: list[dict[str, Any]], attempts: dict[tuple[str, int], list[str]], more: dict[str, Any]
) -> None:
    for seed in range(ORDERS):
        World(Scenario({"parameters": dict.fromkeys(PARAMETERS, True) | {"no": False}, "tasks": tasks}, attempts, seed, **more)).play()


@pytest.mark.parametrize("why", ["hold:all", None])
def test_a_step_that_is_turned_away_when_its_milestone_has_been_reached_does_not_begin_any_more(why: str | None) -> None:
    tasks = [_task("m"), _task("a", unless_reached=["m"])]
    world = World(Scenario({"parameters": dict.fromkeys(PARAMETERS, True), "tasks": tasks}, keep=False))
    world.tell(Begun())
    world.claim("m")
    world.claim("a")
    world.end("m")
    claimed = world.tasks()["a"]
    assert claimed.token is not None
    world.tell(TurnedAway(claimed.id, claimed.token, why))
    assert str(world.tasks()["a"].status) == "skipped"
    assert world.run.status is RunStatus.SUCCEEDED
