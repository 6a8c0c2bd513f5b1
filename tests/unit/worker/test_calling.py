"""How an attempt ends: the author's code in Celery's tracer, for steps of ours and for tasks that know nothing of us."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, signals
from celery.exceptions import Reject

from tests.unit.worker.folder import RUN, FolderEngine, call_of
from wfcelery.authoring.context import current_step
from wfcelery.authoring.registry import Registry, StepSpec
from wfcelery.authoring.shape import Shape
from wfcelery.definition.plan import RetryPolicy
from wfcelery.definition.values import encode
from wfcelery.engine.ports import CannotBegin, Outcome, Raised, Returned
from wfcelery.errors import GiveUp, RetryLater
from wfcelery.worker.installation import Installation


class House:
    """An app with its registry, and calls as the engine makes them."""

    def __init__(self) -> None:
        self.app = Celery("house", broker="wfmem://localhost//", set_as_current=False)
        self.registry = Registry()
        self.installation = Installation(self.app, lambda _: FolderEngine(None), {}, self.registry)  # type: ignore[arg-type]
        self.installation.put()

    def step(self, name: str, function: Any, **more: Any) -> None:
        more.setdefault("retry", RetryPolicy(count=1, delay=4.0, jitter=False))
        coroutine = asyncio.iscoroutinefunction(function)
        self.registry.add_step(StepSpec(name, function, Shape(name, function), name, is_async=coroutine, **more))

    def task(self, name: str, function: Any, **options: Any) -> Any:
        function.__name__ = "function"
        return self.app.task(name=name, shared=False, **options)(function)

    def call(self, action: str, given: dict[str, Any] | None = None, attempt: int = 1, **more: Any) -> Outcome:
        return self.installation.caller.call(call_of({"action": action, "input": given or {}}, uuid4(), RUN, uuid4(), attempt, **more))


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    with made.app:
        yield made


def teller(told: list[str], name: str) -> Any:
    return lambda **_: told.append(name)


@pytest.fixture
def seen() -> Iterator[list[str]]:
    """The signals that Celery sent."""
    told: list[str] = []
    names = ("task_prerun", "task_success", "task_retry", "task_failure", "task_postrun", "before_task_publish")
    receivers = {name: teller(told, name) for name in names}
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver, weak=False)
    yield told
    for name, receiver in receivers.items():
        getattr(signals, name).disconnect(receiver)


def fail(error: Exception) -> Any:
    def function() -> None:
        raise error

    return function


def test_a_step_returns_in_stored_form(house: House, seen: list[str]) -> None:
    house.step("when", lambda: datetime(2026, 1, 2))  # noqa: DTZ001
    assert house.call("when") == Returned({"$wf": ["datetime", "2026-01-02T00:00:00"]})
    assert seen == ["task_prerun", "task_success", "task_postrun"]


def test_only_the_last_failure_is_one_to_celery(house: House, seen: list[str]) -> None:
    house.step("bad", fail(ValueError("no")))
    expected = Raised({"type": "ValueError", "code": None, "message": "no"})
    assert house.call("bad", attempt=1) == expected
    assert seen == ["task_prerun", "task_retry", "task_postrun"]
    assert house.call("bad", attempt=2) == expected
    assert seen[3:] == ["task_prerun", "task_failure", "task_postrun"]


def test_a_policy_of_the_definition_wins(house: House, seen: list[str]) -> None:
    house.step("bad", fail(ValueError("no")))
    house.call("bad", retry=RetryPolicy(count=0))
    assert "task_failure" in seen


def test_retry_later_and_give_up(house: House) -> None:
    house.step("later", fail(RetryLater("2m")))
    house.step("never", fail(GiveUp("it is over")))
    assert house.call("later") == Raised({"type": "RetryLater", "code": "retry_later", "message": "again after 2m"}, retry_in=120.0)
    assert house.call("never") == Raised({"type": "GiveUp", "code": "gave_up", "message": "it is over"}, final=True)


def test_what_cannot_begin_spends_nothing(house: House) -> None:
    house.step("one", lambda x: x)
    assert isinstance(house.call("nobody"), CannotBegin)
    assert isinstance(house.call("one", {"y": 1}), CannotBegin)


def test_a_result_that_cannot_be_carried_fails_the_attempt(house: House, seen: list[str]) -> None:
    house.step("odd", lambda: {"a": [object()]})
    outcome = house.call("odd")
    assert isinstance(outcome, Raised)
    assert (outcome.final, outcome.error["code"]) == (True, "bad_result")
    assert "a[0]" in outcome.error["message"].replace("a.[0]", "a[0]")
    assert "task_failure" in seen


def test_an_async_step_runs_on_one_loop_with_its_context(house: House) -> None:
    loops = []

    async def waits() -> str:
        await asyncio.sleep(0.001)
        loops.append(asyncio.get_running_loop())
        return current_step().key

    house.step("waits", waits)
    assert [house.call("waits"), house.call("waits")] == [Returned("key"), Returned("key")]
    assert loops[0] is loops[1]


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_soft_limit_ends_the_attempt_as_timed_out(house: House, kind: str) -> None:
    async def sleeps() -> None:
        await asyncio.sleep(5)

    def spins() -> None:
        end = time.monotonic() + 5
        while time.monotonic() < end:
            time.sleep(0.01)

    house.step("long", sleeps if kind == "async" else spins)
    began = time.monotonic()
    outcome = house.call("long", soft_timeout=0.1)
    assert isinstance(outcome, Raised)
    assert (outcome.end, outcome.error["type"]) == ("timed_out", "SoftTimeLimitExceeded")
    assert time.monotonic() - began < 4, "the step itself takes 5 s"


def test_an_old_task_retries_by_its_own_policy_and_publishes_nothing(house: House, seen: list[str]) -> None:
    @house.app.task(name="old", shared=False, bind=True, autoretry_for=(ConnectionError,), max_retries=2, default_retry_delay=9)
    def old(self: Any, fault: str) -> int:
        if fault == "self":
            raise self.retry(countdown=3)
        if fault == "auto":
            raise ConnectionError("away")
        if fault == "other":
            raise ValueError("no")
        return int(self.request.retries)

    assert house.call("old", {"fault": ""}, attempt=3) == Returned(2)
    assert house.call("old", {"fault": "self"}) == Raised({"type": "Retry", "code": None, "message": "Retry in 3s"}, retry_in=3.0)
    assert house.call("old", {"fault": "auto"}) == Raised({"type": "ConnectionError", "code": None, "message": "away"}, retry_in=9.0)
    assert house.call("old", {"fault": "auto"}, attempt=3) == Raised({"type": "ConnectionError", "code": None, "message": "away"})
    assert house.call("old", {"fault": "other"}) == Raised({"type": "ValueError", "code": None, "message": "no"}, final=True)
    assert "before_task_publish" not in seen
    policy = house.installation.caller.policy("old")
    assert policy is not None
    assert policy.retry == RetryPolicy(count=2, delay=9.0, backoff="constant", max_delay=None, jitter=False)


@pytest.mark.parametrize("what", ["replace", "requeue", "promise"])
def test_what_has_no_meaning_in_a_workflow_is_refused_with_the_reason(house: House, what: str) -> None:
    @house.app.task(name="odd", shared=False, bind=True)
    def odd(self: Any) -> Any:
        if what == "replace":
            return self.replace(self.s())
        if what == "requeue":
            raise Reject("busy", requeue=True)
        return self.AsyncResult("some-id")

    outcome = house.call("odd")
    assert isinstance(outcome, Raised)
    assert (outcome.final, outcome.error["code"]) == (True, "refused")


def test_a_pickler_cannot_be_a_step(house: House) -> None:
    house.task("pickler", lambda: 1, serializer="pickle")
    outcome = house.call("pickler")
    assert isinstance(outcome, CannotBegin)
    assert "pickle" in outcome.reason


def test_an_unannotated_task_is_handed_a_datetime(house: House) -> None:
    house.task("kind", lambda when: type(when).__name__)
    assert house.call("kind", {"when": encode(datetime(2026, 1, 1))}) == Returned("datetime")  # noqa: DTZ001


def test_no_argument_and_no_result_is_logged(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.step("secret", lambda word: word * 2)
    with caplog.at_level(logging.INFO, logger="celery.app.trace"):
        house.call("secret", {"word": "hush"})
    assert "hush" not in caplog.text + repr([vars(record) for record in caplog.records])


def test_a_direct_call_of_a_task_that_is_also_a_step_feels_nothing(house: House) -> None:
    task = house.task("both", lambda x: x + 1)
    assert house.call("both", {"x": 1}) == Returned(2)
    assert house.app.tasks["both"](x=2) == 3
    assert task.apply(kwargs={"x": 3}).get() == 4


def test_each_item_of_a_group_that_was_claimed_under_one_token_has_an_id_of_its_own(house: House) -> None:
    ids: list[str] = []

    def work(self: Any) -> None:
        ids.append(self.request.id)

    house.task("tracked", work, bind=True)
    for token in (uuid4(), uuid4()):
        for item in range(100):
            call = call_of({"action": "tracked", "input": {}}, uuid4(), RUN, token, 1, item=item)
            assert isinstance(house.installation.caller.call(call), Returned)
    assert len(set(ids)) == 200


def test_what_celery_logs_of_a_failure_does_not_quote_a_secret(house: House, caplog: pytest.LogCaptureFixture) -> None:
    def fails(token: str) -> None:
        raise ValueError(f"401 for {token}")

    house.step("fails", fails, retry=RetryPolicy(count=0))
    with caplog.at_level(logging.DEBUG):
        outcome = house.call("fails", {"token": "sk-canary"}, secrets=("sk-canary",))
    assert isinstance(outcome, Raised)
    written = "\n".join(logging.Formatter("%(message)s").format(record) for record in caplog.records)
    assert "401 for ***" in written
    assert "sk-canary" not in written
