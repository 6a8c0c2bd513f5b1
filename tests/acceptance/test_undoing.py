"""What becomes of a run whose step has failed, as real workers carry it: strategies, compensations, hooks, deadlines."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.acceptance.effects import Effect
from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet

APP = "tests.acceptance.undoing_app"
STEPS = "select name, status from wf_step where run = cast(:run as uuid) and item = -1"
LETTERS = "select name, reason from wf_dead_letter where run = cast(:run as uuid)"
BACK = ["undo three", "undo two", "undo one"]


@pytest.fixture(scope="module")
def here(make_shared_fleet: Callable[..., Fleet]) -> Fleet:
    fleet = make_shared_fleet(app=APP, environment={"WFCELERY_POLL": "0.2", "WFCELERY_LEASE": "3"})
    return fleet.ready(fleet.worker(concurrency=2))


def _done(fleet: Fleet, run: str) -> list[Effect]:
    """What was executed of this run, in its order."""
    mine = [effect for effect in fleet.effects.all() if effect.note.startswith(run)]
    return [replace(effect, note=effect.note.removeprefix(f"{run} ")) for effect in mine]


def _names(fleet: Fleet, run: str) -> list[str]:
    return [effect.step for effect in _done(fleet, run)]


@pytest.mark.promise("D11")
def test_stop_cancels_what_stands_beside_a_failed_step_and_undoes_nothing(here: Fleet) -> None:
    run = here.start("stopped.bind()")
    assert here.ended(run) == "failed"
    assert dict(here.query(STEPS, run=run)) == {
        "one": "succeeded",
        "sibling": "cancelled",
        "refuse": "failed",
        "on_failure:hook": "succeeded",
    }
    assert _names(here, run) == ["one", "refuse", "tell failed"]
    assert here.query(LETTERS, run=run) == [("refuse", "exhausted")]


@pytest.mark.promise("D11")
def test_continue_lets_the_next_step_see_the_failure(here: Fleet) -> None:
    run = here.start("continued.bind()")
    assert here.result(run) == "failed: no room"


@pytest.mark.promise("A8", "D11")
def test_each_step_says_how_often_it_is_tried_again_and_what_undoes_it(here: Fleet) -> None:
    run = here.start("retried.bind(2)")
    assert here.result(run) == 3
    assert [effect.attempt for effect in _done(here, run)] == [1, 2, 3]
    times = [effect.at for effect in _done(here, run)]
    assert all(later - earlier >= 0.1 for earlier, later in pairwise(times))

    run = here.start("unknown.bind()")
    assert here.ended(run) == "failed"
    assert [(effect.step, effect.note) for effect in _done(here, run)] == [("refuse", ""), ("tidy", "None")]


@pytest.mark.promise("D11")
def test_a_child_that_is_killed_between_two_compensations_changes_neither_their_order_nor_their_number(here: Fleet) -> None:
    run = here.start("undone.bind('undo two')")
    _kill(here, run, "undo two")
    assert here.ended(run) == "failed"
    forward = ["one", "two", "three", "refuse"]
    assert _names(here, run) == [*forward, "undo three", "undo two", "undo two", "undo one", "tell failed", "close failed"]
    again = [effect for effect in _done(here, run) if effect.step == "undo two"]
    assert len({effect.key for effect in again}) == 1, "one key over both attempts"
    assert [effect.note for effect in _done(here, run) if effect.step in BACK] == ["made three", "made two", "made two", "made one"]
    statuses = dict(here.query(STEPS, run=run))
    assert {statuses[name] for name in ("one", "two", "three")} == {"compensated"}
    facts = [fact["step"] for fact in here.facts(run, "step_compensated")]
    assert facts == ["three", "two", "one"]
    assert here.faults() == {}


def test_what_was_undone_is_not_tried_again_and_says_so_at_once(here: Fleet) -> None:
    run = here.start("undone.bind('')")
    assert here.ended(run) == "failed"
    [(letter,)] = here.query("select id from wf_dead_letter where run = cast(:run as uuid)", run=run)
    here.run("dead", "retry", str(letter), code=4)
    assert not here.facts(run, "retry_refused"), "it is refused before anything is written"


@pytest.mark.promise("E29")
def test_a_hook_whose_worker_is_killed_is_called_again_and_ends_once(here: Fleet) -> None:
    run = here.start("undone.bind('tell')")
    _kill(here, run, "tell failed")
    assert here.ended(run) == "failed"
    assert _names(here, run)[4:] == [*BACK, "tell failed", "tell failed", "close failed"]
    assert [effect.note for effect in _done(here, run) if effect.step == "tell failed"] == ["no room", "no room"]
    ends = [fact["step"] for fact in here.facts(run, "step_succeeded") if fact["step"].endswith(":hook")]
    assert ends == ["on_failure:hook", "on_complete:hook"]
    assert here.faults() == {}


@pytest.mark.promise("E29", "D11")
def test_a_cancelled_run_is_undone_and_calls_the_hooks_of_a_cancel(here: Fleet) -> None:
    run = here.start("called_off.bind()")
    eventually(lambda: dict(here.query(STEPS, run=run)).get("nap") == "waiting", what="the nap has begun")
    here.shell(f"wfcelery.get_run({run!r}).cancel('enough')")
    assert here.ended(run) == "cancelled"
    assert _names(here, run) == ["one", "undo one", "tell cancelled", "close cancelled"]


@pytest.mark.promise("E28")
def test_a_run_that_takes_longer_than_its_workflow_allows_is_timed_out_undone_and_told(here: Fleet) -> None:
    run = here.start("too_slow.bind()")
    assert here.ended(run) == "timed_out"
    assert _names(here, run) == ["one", "undo one", "tell timed_out", "close timed_out"]
    [(lasted,)] = here.query("select extract(epoch from ended_at - created_at) from wf_run where id = cast(:run as uuid)", run=run)
    assert 1.5 <= float(lasted) < 10
    assert here.faults() == {}


def _kill(fleet: Fleet, run: str, step: str) -> None:
    """Kill the worker's child that executes this step."""
    (effect,) = eventually(lambda: [effect for effect in _done(fleet, run) if effect.step == step], within=30, what=f"{step} has begun")
    os.kill(effect.pid, signal.SIGKILL)
