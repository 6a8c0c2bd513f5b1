"""When a failed attempt runs again, as a table."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfcelery.core.retries import after_loss, backoff, jittered, next_attempt
from wfcelery.definition.expressions import Expression
from wfcelery.definition.plan import RetryPolicy

STEP = UUID(int=1)
BROKE = {"type": "Broke", "code": "E1", "message": "it broke"}


@pytest.mark.parametrize(
    ("kind", "max_delay", "seconds"),
    [
        ("constant", None, [2.0, 2.0, 2.0, 2.0, 2.0]),
        ("linear", None, [2.0, 4.0, 6.0, 8.0, 10.0]),
        ("exponential", None, [2.0, 4.0, 8.0, 16.0, 32.0]),
        ("constant", 1.0, [1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", 5.0, [2.0, 4.0, 5.0, 5.0, 5.0]),
        ("exponential", 10.0, [2.0, 4.0, 8.0, 10.0, 10.0]),
    ],
)
def test_the_delay_before_each_attempt(kind: Any, max_delay: float | None, seconds: list[float]) -> None:
    policy = RetryPolicy(count=5, delay=2.0, backoff=kind, max_delay=max_delay, jitter=False)

    assert [backoff(policy, failures) for failures in (1, 2, 3, 4, 5)] == seconds
    assert [next_attempt(policy, STEP, failures, BROKE, None, None) for failures in (1, 2, 3, 4, 5)] == seconds


def test_the_thousandth_exponential_delay_is_still_a_number() -> None:
    assert backoff(RetryPolicy(delay=1.0, max_delay=60.0), 1_000) == 60.0
    assert backoff(RetryPolicy(delay=1.0, max_delay=None), 1_000) < float("inf")


@given(st.floats(0, 1e6), st.uuids(), st.integers(1, 100))
def test_jitter_adds_at_most_a_quarter_and_always_the_same(seconds: float, step: UUID, failures: int) -> None:
    assert seconds <= jittered(seconds, step, failures) <= seconds * 1.25
    assert jittered(seconds, step, failures) == jittered(seconds, step, failures)


def test_steps_that_fail_together_do_not_come_back_together() -> None:
    assert len({jittered(10.0, UUID(int=number), 1) for number in range(100)}) > 90


def test_a_policy_of_three_retries_gives_up_at_the_fourth_failure() -> None:
    policy = RetryPolicy(count=3, delay=1.0, jitter=False)

    assert [next_attempt(policy, STEP, failures, BROKE, None, None) is None for failures in (1, 2, 3, 4)] == [False, False, False, True]


def test_a_type_that_is_never_retried_is_not_retried() -> None:
    policy = RetryPolicy(non_retryable=("Broke",))

    assert next_attempt(policy, STEP, 1, BROKE, None, None) is None
    assert next_attempt(policy, STEP, 1, BROKE | {"type": "Other"}, None, None) is not None


@pytest.mark.parametrize(
    ("condition", "again"),
    [("error.type == 'Broke'", True), ("error.code == 'E2'", False), ("'broke' in error.message", True)],
)
def test_a_condition_looks_at_the_error(condition: str, again: bool) -> None:
    policy = RetryPolicy(on_error=Expression.parse(condition))

    assert (next_attempt(policy, STEP, 1, BROKE, None, None) is not None) is again


def test_what_the_code_asks_for_replaces_the_time_and_not_the_budget() -> None:
    policy = RetryPolicy(count=1, delay=1.0, max_delay=2.0)

    assert next_attempt(policy, STEP, 1, BROKE, 500.0, None) == 500.0
    assert next_attempt(policy, STEP, 2, BROKE, 500.0, None) is None


def test_no_attempt_begins_after_the_total_time() -> None:
    policy = RetryPolicy(delay=10.0, jitter=False, total=30.0)

    assert next_attempt(policy, STEP, 1, BROKE, None, 19.0) == 10.0
    assert next_attempt(policy, STEP, 1, BROKE, None, 21.0) is None


def test_after_the_first_lost_worker_at_once_then_later_and_later() -> None:
    assert [after_loss(lost) for lost in (1, 2, 3, 4, 5, 6, 7, 8, 9)] == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
