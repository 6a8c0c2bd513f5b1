"""Celery tasks that were there before, as steps; and what those see who listen to events."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytest
from celery import Celery
from celery.events import EventReceiver

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet
from tests.acceptance.shell import ShellError

CANARY = "canary-9c1d"


class Listener:
    """What Flower would hear."""

    def __init__(self, broker_url: str) -> None:
        self.events: list[dict[str, Any]] = []
        self._app = Celery("listener", broker=broker_url, set_as_current=False)
        self._connection = self._app.connection_for_read()
        self._receiver = EventReceiver(self._connection, handlers={"*": self.events.append}, app=self._app)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        self._receiver.capture(limit=None, timeout=None, wakeup=False)

    def close(self) -> None:
        self._receiver.should_stop = True
        self._thread.join(10)
        self._connection.release()
        self._app.close()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in list(self.events) if event["type"] == kind]

    def of_runs(self, runs: Collection[str], kind: str) -> list[dict[str, Any]]:
        """Of the steps of these runs alone: what was done before may be told late."""
        steps = {event["uuid"] for event in self.of("task-received") if event["root_id"] in runs}
        return [event for event in self.of(kind) if event["uuid"] in steps]


@pytest.fixture(scope="module")
def here(make_shared_fleet: Callable[..., Fleet]) -> Fleet:
    fleet = make_shared_fleet(environment={"WFCELERY_POLL": "0.3"})
    return fleet.ready(fleet.worker())


@pytest.fixture
def listener(here: Fleet) -> Iterator[Listener]:
    listening = Listener(here.broker_url)
    yield listening
    listening.close()


@pytest.mark.promise("D8", "A13")
def test_adopted_tasks_keep_what_they_know_of_retries_requests_and_hooks(here: Fleet) -> None:
    run = here.start("adopted.bind(EPOCH)")

    assert here.result(run) == "2030-01-02 00:00:00+00:00"
    assert here.effects.attempts("auto") == [1, 2, 3]
    assert here.effects.attempts("by_hand") == [1, 2]
    assert [(effect.attempt, effect.note) for effect in here.effects.all("on_success")] == [(1, "2")]
    ((said,),) = here.query("select output from wf_step where name = 'who'")
    assert '"task":"shop.who"' in said.replace(" ", "")
    assert '"retries":0' in said.replace(" ", "")
    assert [fact["delay"] for fact in here.facts(run, "step_retried")] == [0.2, 0.2, 0.2]
    assert here.faults() == {}


@pytest.mark.promise("B17", "D8")
def test_listeners_hear_of_every_step_under_its_tasks_name_and_of_nothing_else(here: Fleet, listener: Listener) -> None:
    eventually(lambda: listener.of("worker-heartbeat"), what="it hears something")
    bounds = (f"chain.bind('{CANARY}')", "retried.bind(1)", f"doomed.bind('{CANARY}')", "adopted.bind(EPOCH)")
    runs = [here.start(bound) for bound in bounds]
    for run in runs:
        here.ended(run)
    wanted = {"first", "second", "third", "flaky", "hopeless"}
    mine = {f"tests.acceptance.app.{name}" for name in wanted} | {
        f"shop.{name}" for name in ("auto", "by_hand", "accountable", "who", "later")
    }

    def heard(kind: str) -> list[dict[str, Any]]:
        return listener.of_runs(runs, kind)

    ends = {"task-succeeded": 9, "task-failed": 1, "task-retried": 4}
    eventually(lambda: {kind: len(heard(kind)) for kind in ends} == ends, explain=lambda: str(listener.events))

    assert {event["name"] for event in listener.of("task-received")} == mine
    assert len({event["uuid"] for event in heard("task-received")}) == len(heard("task-received")) == 14, "an id for each attempt"
    assert {event["result"] for event in heard("task-succeeded")} == {""}
    assert [event["exception"] for event in heard("task-failed")] == ["GiveUp()"]
    assert CANARY not in str(listener.events)


def test_the_apps_own_tasks_go_their_own_way(here: Fleet, listener: Listener) -> None:
    eventually(lambda: listener.of("worker-heartbeat"))
    here.shell("ordinary.delay('as ever').id")
    eventually(lambda: [effect for effect in here.effects.all("ordinary") if effect.note == "as ever"])
    (event,) = eventually(lambda: [event for event in listener.of("task-received") if event["name"] == "shop.ordinary"])
    assert "as ever" in event["args"]


def test_one_step_and_one_adopted_task_are_runs_without_a_workflow(here: Fleet) -> None:
    once = here.start("old_by_hand.bind(1)", "key='once'")
    assert here.result(once) == 1, "it was tried again by its own retry"
    assert here.start("old_by_hand.bind(1)", "key='once'") == once
    assert here.result(here.start("old_accountable.bind(amount=4)")) == 5
    assert here.result(here.start("mark.bind('alone')")) == "alone"
    shown = json.loads(here.run("runs", "show", once, "--json"))
    assert (shown["workflow"], [step["name"] for step in shown["steps"]]) == ("shop.by_hand", ["by_hand"])
    with pytest.raises(ShellError, match=r"InvalidInput|AuthoringError"):
        here.start("mark.bind()")
