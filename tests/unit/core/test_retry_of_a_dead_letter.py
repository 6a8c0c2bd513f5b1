"""A dead letter's step gets another episode, and the run the end it would have had."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.unit.core.driver import World
from tests.unit.core.generators import BROKEN, PARAMETERS, Scenario, scenarios
from wfcelery.core import births
from wfcelery.core.states import RunStatus

FAILS = ["fail"]


def _task(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "action", **more}


def _sleep(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "sleep", **more}


def _worlds(tasks: list[dict[str, Any]], attempts: dict[tuple[str, int], list[str]]) -> list[World]:
    """The same run in thirty orders, each of its open dead letters retried."""
    graph = {"parameters": dict.fromkeys(PARAMETERS, True), "tasks": tasks}
    worlds = [World(Scenario(graph, attempts, seed, retries=3)) for seed in range(30)]
    for world in worlds:
        world.play()
    return worlds


WELL = [
    pytest.param([_task("a"), _task("b", needs=["a"])], {("a", -1): FAILS}, id="what comes after it"),
    pytest.param([_task("a"), _task("b", needs=["a"])], {("a", -1): ["timeout"]}, id="after a timeout"),
    pytest.param([_task("a"), _sleep("s"), _task("c", after={"a": None, "s": None})], {("a", -1): FAILS}, id="a sleep that was closed"),
    pytest.param([_task("a"), _task("b"), _task("c", after={"a": None, "b": None})], {("a", -1): FAILS}, id="a join that was closed"),
]
BADLY = [
    pytest.param([_task("f", items=3)], {("f", 1): FAILS}, id="an item"),
    pytest.param([_task("f", items=4, concurrency=1), _task("g", needs=["f"])], {("f", 1): FAILS}, id="an item while others are held"),
    pytest.param([_task("f", items=3)], {("f", 1): FAILS, ("f", 2): FAILS}, id="two items"),
    pytest.param(
        [_task("f", items=2, success=1, tolerate=0)], {("f", 1): FAILS}, id="an item of those of which enough succeeded meanwhile"
    ),
    pytest.param([_task("f", items=4, concurrency=2), _task("x")], {("x", -1): FAILS}, id="beside a fan-out that was closed"),
    pytest.param(
        [_task("f", items=3, concurrency=1, on={"failure": ["x"]}), _task("x")],
        {("f", 0): FAILS, ("x", -1): FAILS},
        id="after a fan-out whose failure was handled",
    ),
    pytest.param(
        [_task("a"), _sleep("s"), _task("j", after={"a": None, "s": None}, join=1, cancel_rest=True)],
        {("j", -1): FAILS},
        id="after a join that closed the rest",
    ),
    pytest.param([_task("a"), _task("b")], {("a", -1): FAILS, ("b", -1): FAILS}, id="two steps that failed"),
]


@pytest.mark.parametrize(("tasks", "attempts"), WELL)
def test_a_retry_takes_the_run_to_its_end(tasks: list[dict[str, Any]], attempts: dict[tuple[str, int], list[str]]) -> None:
    assert {world.run.status for world in _worlds(tasks, attempts)} == {RunStatus.SUCCEEDED}


@pytest.mark.parametrize(("tasks", "attempts"), BADLY)
def test_a_retry_takes_the_run_to_its_end_here_too(tasks: list[dict[str, Any]], attempts: dict[tuple[str, int], list[str]]) -> None:
    assert {world.run.status for world in _worlds(tasks, attempts)} == {RunStatus.SUCCEEDED}


def test_a_step_whose_list_is_no_list_fails_again() -> None:
    assert {world.run.status for world in _worlds([_task("b", items=BROKEN)], {})} == {RunStatus.FAILED}


def test_a_large_fan_out_that_was_stopped_while_items_were_to_be_born_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(births, "CHUNK", 2)

    worlds = _worlds([_task("f", items=5, concurrency=2), _task("x")], {("x", -1): FAILS})

    assert {world.run.status for world in worlds} == {RunStatus.SUCCEEDED}


def test_a_large_fan_out_that_failed_while_items_were_to_be_born_bears_them_after_the_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(births, "CHUNK", 2)

    worlds = _worlds([_task("f", items=5, concurrency=3)], {("f", 0): FAILS, ("f", 1): ["timeout"]})

    assert {world.run.status for world in worlds} == {RunStatus.SUCCEEDED}


@given(scenarios(again=True, most=8), st.integers(1, 3))
@settings(max_examples=100, phases=[Phase.generate])
def test_large_fan_outs_are_born_in_pieces_and_retried_like_others(scenario: Scenario, chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(births, "CHUNK", chunk)
        World(scenario).play()


@given(scenarios(again=True))
@settings(max_examples=300, phases=[Phase.generate])
def test_after_every_commit_of_a_retried_run_the_rows_stand_where_the_rules_put_them(scenario: Scenario) -> None:
    World(scenario).play()
