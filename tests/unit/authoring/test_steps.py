"""Steps outside of workflows, their registry, and what a step can ask about its attempt."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wfcelery import AuthoringError, NotAllowedNow, NotFound, Retry, adopt, current_step, step, workflow
from wfcelery.authoring.context import StepContext, running_step, step_context
from wfcelery.authoring.registry import Registry, StepSpec, registry
from wfcelery.errors import AttemptCancelled, Misconfigured


def submitted() -> None: ...


def test_outside_a_workflow_a_step_is_the_function_it_was() -> None:
    @step
    def double(number: int) -> int:
        """Twice the number."""
        return number * 2

    @step
    async def later(number: int) -> int:
        return number * 2

    async def both() -> list[Any]:
        return [await later(3), await later.afn(4)]  # type: ignore[misc]

    assert (double(3), double.fn(4), double.__doc__, double.__name__) == (6, 8, "Twice the number.", "double")
    assert asyncio.run(both()) == [6, 8]


def test_a_static_method_is_a_step_under_its_qualified_name() -> None:
    class Rows:
        @staticmethod
        @step
        def mark(pk: int) -> int:
            return pk

    assert Rows.mark(3) == 3
    assert Rows().mark(4) == 4
    assert Rows.mark.name == f"{__name__}.test_a_static_method_is_a_step_under_its_qualified_name.Rows.mark"


def test_what_a_step_says_is_read_from_its_spec() -> None:
    @step(name="pay", retry=Retry(5, "2s", non_retryable=[ValueError, "CardRefused"]), timeout="30s", queue="payments", aliases=["old.pay"])
    def charge(amount: int) -> int:
        return amount

    spec = registry.step("old.pay")

    assert spec is charge.spec
    assert spec.retry is not None
    assert (spec.retry.count, spec.retry.delay, spec.retry.non_retryable) == (5, 2.0, ("ValueError", "CardRefused"))
    assert (spec.timeout, spec.queue, spec.parameters) == (30.0, "payments", ("amount",))


def test_a_step_that_says_nothing_has_the_usual_policy_and_an_adopted_task_its_own() -> None:
    @step
    def usual() -> None: ...

    assert usual.spec.retry is not None
    assert (usual.spec.retry.count, usual.spec.retry.max_delay, usual.spec.retry.jitter) == (3, 60.0, True)
    assert adopt("shop.tasks.quiet").spec.retry is None


def test_one_name_means_one_function_and_a_reload_is_no_second_one() -> None:
    def first() -> None: ...
    def second() -> None: ...

    step(name="same")(first)
    again = step(name="same")(first)

    assert registry.step("same") is again.spec
    with pytest.raises(AuthoringError, match=r"two steps are called same: .*first and .*second; give one of them name="):
        step(name="same")(second)
    with pytest.raises(AuthoringError, match="two steps are called same"):
        step(name="other", aliases=["same"])(second)


def test_one_name_means_one_workflow_unless_it_was_made_inside_a_function() -> None:
    def local() -> None: ...

    workflow(name="alike")(local)
    workflow(name="alike")(submitted)
    with pytest.raises(AuthoringError, match="two workflows are called alike"):
        workflow(name="alike")(local)


def test_an_unknown_step_names_what_is_near() -> None:
    adopt("shop.tasks.remember")

    with pytest.raises(NotFound, match=r"there is no step shop\.tasks\.remeber; did you mean shop\.tasks\.remember\?"):
        registry.step("shop.tasks.remeber")


def test_whoever_listens_hears_of_every_step_those_that_were_there_and_those_that_come() -> None:
    known = Registry()
    heard: list[str] = []
    first, second = (adopt(f"shop.tasks.{name}").spec for name in ("heard_first", "heard_second"))

    known.add_step(first)
    known.on_step(lambda spec: heard.append(spec.name))
    known.add_step(second)

    assert heard == ["shop.tasks.heard_first", "shop.tasks.heard_second"]


def test_delay_sends_the_ordinary_task_and_without_an_app_says_what_is_missing() -> None:
    @step
    def sent(number: int) -> int:
        return number

    known, calls = Registry(), []

    def submitter(spec: StepSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        calls.append((spec.name, args, kwargs))

    with pytest.raises(Misconfigured, match=r"wfcelery\.install\(app\)"):
        known.submit(sent.spec, (1,), {})
    known.submit_with(submitter)
    known.submit(sent.spec, (1,), {"x": 2})

    assert calls == [(sent.name, (1,), {"x": 2})]


# ---- the attempt -----------------------------------------------------------------------------------------------------


class Attending:
    def __init__(self) -> None:
        self.beats: list[Any] = []
        self.reason: str | None = None

    def heartbeat(self, details: Any) -> None:
        self.beats.append(details)

    def cancelled(self) -> str | None:
        return self.reason

    def connection(self) -> Any:
        return "the connection"


def test_a_plain_call_has_a_detached_attempt_with_one_fresh_key() -> None:
    @step
    def keys() -> list[str]:
        return [current_step().key, current_step().key]

    first, second = keys(), keys()

    assert first[0] == first[1] != second[0]
    assert (current_step().attempt, current_step().run_id, running_step()) == (1, None, None)
    with pytest.raises(NotAllowedNow, match="transactional=True"):
        _ = current_step().connection


def test_inside_an_attempt_a_step_learns_of_it_and_of_a_cancel() -> None:
    attendant = Attending()
    context = StepContext("k", 2, "run", attendant=attendant)

    with step_context(context):
        assert running_step() is context
        assert current_step().connection == "the connection"
        current_step().heartbeat({"at": 1})
        attendant.reason = "no longer wanted"
        with pytest.raises(AttemptCancelled, match="no longer wanted"):
            current_step().check_cancelled()

    assert attendant.beats == [{"at": 1}]
    assert running_step() is None


def test_runs_that_an_attempt_starts_have_the_same_keys_on_every_attempt() -> None:
    first, second = (StepContext("k", attempt, "run") for attempt in (1, 2))

    assert [first.next_start_key(), first.next_start_key()] == [second.next_start_key(), second.next_start_key()] == ["k:1", "k:2"]
