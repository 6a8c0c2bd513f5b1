"""No example leaves the tables of transitions, and every way in them is gone by some example."""

from __future__ import annotations

from typing import Any

from hypothesis import Phase, given, settings

from tests.unit.core.driver import World
from tests.unit.core.generators import BROKEN, HOOKS, LATE, PARAMETERS, Scenario, scenarios
from tests.unit.core.stored import Coverage
from wfcelery.core.events import Begun, DeadlinePassed
from wfcelery.core.states import RUN_TABLE, STEP_TABLE, WAIT_TABLE, RunStatus, StepStatus


def _task(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "action", **more}


SLEEP = {"name": "s", "type": "sleep"}
CALL = {"name": "w", "type": "workflow"}
ABC = [_task(name) for name in "abc"]
# While something else ends the run, `a` ends too: what leads on from there comes to pass in the commit of the retry.
BEHIND = [_task("a"), _task("b"), _task("x")]
BOTH = {"a": None, "b": None}
PUBLISHES = _task("a", publish={"last": "a", "late": []})
UNDO_A = _task("a", undo="known")
STORIES: list[tuple[list[dict[str, Any]], dict[tuple[str, int], list[str]], dict[str, Any]]] = [
    ([SLEEP], {}, {"end_after": 0}),
    ([_task("a", when="no")], {}, {}),
    ([_task("a", items=BROKEN)], {}, {}),
    ([_task("a"), _task("b")], {}, {"cancel_after": 1}),
    ([_task("f", items=4, concurrency=2), _task("x")], {("x", -1): ["fail"]}, {"retries": 1}),
    ([_task("f", items=2)], {("f", 0): ["timeout"]}, {"retries": 1}),
    ([_task("f", items=5, concurrency=1, tolerate=5)], {("f", item): ["fail"] for item in range(5)}, {"reruns": 3}),
    ([_task("f", items=5, concurrency=1, tolerate=5)], {("f", item): ["timeout"] for item in range(5)}, {"reruns": 3}),
    ([_task("f", items=5, concurrency=2)], {}, {"completes": 1}),
    ([_task("f", items=5, skips=[0, 2])], {}, {}),
    ([SLEEP, _task("a")], {("a", -1): ["timeout"]}, {"retries": 1, "hands": 2}),
    ([_task("a")], {("a", -1): ["timeout"]}, {"retries": 1, "hands": 1, "keep": False}),
    ([SLEEP], {}, {"cancel_after": 0}),
    ([_task("a"), _task("b"), {**SLEEP, "after": BOTH}], {}, {}),
    ([SLEEP], {}, {"end_after": -1}),
    ([SLEEP], {}, {"cancel_after": -1}),
    ([SLEEP, _task("c", after={"s": None}, items=BROKEN)], {}, {}),
    ([SLEEP, _task("k"), PUBLISHES, _task("c", after={"k": None}, items=LATE)], {}, {"retries": 3}),
    ([SLEEP, _task("k"), PUBLISHES, _task("c", after={"k": None}, when=LATE)], {}, {"retries": 3}),
    ([_task("k"), PUBLISHES, _task("c", after={"k": None}, items=LATE)], {}, {"retries": 3}),
    ([_task("k"), PUBLISHES, _task("x"), _task("c", after={"k": None}, items=LATE)], {("x", -1): ["fail"]}, {"retries": 3}),
    ([*BEHIND, _task("c", after=BOTH, items=0)], {("x", -1): ["fail"]}, {"retries": 1}),
    ([_task("a"), SLEEP, _task("c", after={"a": None, "s": None})], {("a", -1): ["fail"]}, {"retries": 1}),
    ([*ABC, _task("d", after=dict.fromkeys("abc"))], {("a", -1): ["timeout"]}, {"retries": 1}),
    ([_task("a"), _task("b")], {("a", -1): ["fail"]}, {"end_after": 1, "retries": 1}),
    ([*BEHIND, _task("c", after=BOTH, items=BROKEN)], {("x", -1): ["fail"]}, {"retries": 1}),
    ([*BEHIND, _task("c", after=BOTH, when="no")], {("x", -1): ["fail"]}, {"retries": 1}),
    ([_task("a"), _task("f", items=2), _task("c", after={"a": None}, items=BROKEN)], {("f", 0): ["fail"]}, {"retries": 1}),
    ([_task("a"), _task("f", items=2), _task("c", after={"a": None}, items=BROKEN)], {("f", 0): ["timeout"]}, {"retries": 1}),
    (
        [_task("a"), _task("f", items=2), _task("c", after={"a": None}, items=BROKEN)],
        {("f", 0): ["fail"], ("f", 1): ["fail"]},
        {"retries": 3},
    ),
    ([_task("a"), _task("x"), _task("c", after={"a": None}, items=BROKEN)], {("x", -1): ["fail"]}, {"end_after": 2, "retries": 1}),
    ([_task("a"), _task("b"), {"name": "e", "type": "end", "after": {"a": None}}], {}, {}),
    ([_task("a"), _task("b")], {}, {"pause_after": -1}),
    ([SLEEP], {}, {"pause_after": 0}),
    ([SLEEP], {}, {"pause_after": 0, "cancel_after": 1}),
    ([SLEEP], {}, {"pause_after": 0, "end_after": 1}),
    ([_task("a")], {}, {"pause_after": 1}),
    ([_task("a")], {("a", -1): ["fail"]}, {"pause_after": 1}),
    ([_task("a", retry={"count": 1})], {("a", -1): ["fail"]}, {"pause_after": 1}),
    (ABC, {}, {"pause_after": 1, "cancel_after": 3}),
    (ABC, {}, {"pause_after": 2, "cancel_after": 4}),
    ([*ABC, _task("d", after=dict.fromkeys("abc"))], {}, {"pause_after": 2}),
    ([_task("f", items=6, concurrency=2), _task("x")], {}, {"pause_after": 2}),
    ([CALL], {("w", -1): ["fail"]}, {"retries": 1}),
    ([CALL], {("w", -1): ["timeout"]}, {"retries": 1}),
    ([CALL], {}, {"cancel_after": 0}),
    ([CALL, _task("a", items=BROKEN)], {}, {}),
    ([*BEHIND, CALL, _task("c", after=BOTH, items=BROKEN)], {("x", -1): ["fail"]}, {"retries": 1}),
    ([_task("a"), _task("x"), CALL, _task("c", after={"a": None}, items=BROKEN)], {("x", -1): ["fail"]}, {"end_after": 2, "retries": 1}),
    ([{**CALL, "items": 4, "concurrency": 2, "retry": {"count": 1}}], {("w", 1): ["fail"]}, {"pause_after": 2}),
    ([{**CALL, "items": 2}], {("w", 1): ["timeout"]}, {}),
    ([SLEEP, {**CALL, "items": 2}], {}, {"cancel_after": 3}),
]


UNDONE: list[tuple[list[dict[str, Any]], dict[tuple[str, int], list[str]], dict[str, Any]]] = [
    ([UNDO_A, _task("b"), _task("c")], {("c", -1): ["fail"]}, {}),
    ([UNDO_A, _task("b")], {("b", -1): ["fail"]}, {"pause_after": 5}),
    ([UNDO_A, _task("b")], {("b", -1): ["fail"]}, {"pause_after": 4}),
    ([UNDO_A, SLEEP], {}, {"cancel_after": 3}),
    ([UNDO_A, SLEEP], {}, {"end_after": 3}),
    ([UNDO_A, SLEEP], {}, {"pause_after": 1, "cancel_after": 3}),
    ([SLEEP], {}, {"cancel_after": -1}),
    ([UNDO_A, _task("f", items=3, undo="known"), _task("x")], {("x", -1): ["fail"], ("f:compensate", 1): ["fail"]}, {}),
]
# A hook of a run that ends in each way fails, and is tried again.
HOOK_FAILS: list[tuple[dict[tuple[str, int], list[str]], dict[str, Any]]] = [
    ({("on_complete:hook", -1): ["fail"], ("a", -1): words}, more)
    for words, more in (([], {}), (["fail"], {}), ([], {"cancel_after": 0}), ([], {"end_after": 0}))
]


def test_every_way_of_the_tables_is_gone() -> None:
    seen = Coverage()

    @given(scenarios(again=True))
    @settings(max_examples=150, phases=[Phase.generate], derandomize=True, database=None)
    def go(scenario: Scenario) -> None:
        World(scenario, seen).play()

    go()
    for tasks, attempts, more in STORIES:
        graph = {"parameters": dict.fromkeys(PARAMETERS, True) | {"no": False}, "tasks": tasks}
        for seed in range(30):
            World(Scenario(graph, attempts, seed, **more), seen).play()

    for tasks, attempts, more in UNDONE:
        graph = {"parameters": dict.fromkeys(PARAMETERS, True), "tasks": tasks, "hooks": list(HOOKS)}
        for seed in range(12):
            World(Scenario(graph, attempts, seed, **more), seen).play()
    for attempts, more in HOOK_FAILS:
        world = World(Scenario({"parameters": {}, "tasks": [_task("a")], "hooks": ["on_complete"]}, attempts, **more), seen)
        world.play()
        world.close_again()

    for beside in ([SLEEP], []):
        _retry_what_can_be_read_by_now(beside, seen)

    # One by one: a run's `failed` and a step's are equal words.
    assert _ways(RUN_TABLE) - seen.run.keys() == {(None, RunStatus.PENDING)}  # a start inserts its run by itself
    # The gate of a section that a retried run enters once more (tests/engine/test_sections): no graph of these has sections.
    assert _ways(STEP_TABLE) - seen.step.keys() == {(StepStatus.SUCCEEDED, StepStatus.HELD)}
    assert _ways(WAIT_TABLE) - seen.wait.keys() == set()


def _retry_what_can_be_read_by_now(beside: list[dict[str, Any]], seen: Coverage) -> None:
    """`c` and `x` fail; `x` is retried and the run's deadline passes, not before `a` has published what `c` reads."""
    tasks = [*beside, _task("k"), PUBLISHES, _task("x"), _task("c", after={"k": None}, items=LATE)]
    world = World(Scenario({"parameters": dict.fromkeys(PARAMETERS, True), "tasks": tasks}, {("x", -1): ["fail"]}, keep=False), seen)
    world.tell(Begun())
    for name in ("k", "x"):
        world.claim(name)
    for name in ("k", "x"):
        world.end(name)
    c, x = (found.letter for found in world.letters)
    world.retry(x)
    for name in ("a", "x"):
        world.claim(name)
    world.end("a")
    world.asked = "deadline"
    world.tell(DeadlinePassed())
    world.end("x")
    assert world.run.status is RunStatus.TIMED_OUT
    world.retry(c)
    assert world.run.status is (RunStatus.WAITING if beside else RunStatus.SUCCEEDED)


def _ways(table: Any) -> set[Any]:
    return {(was, to) for was, ways in table.items() for after in ways.values() for to in after}
