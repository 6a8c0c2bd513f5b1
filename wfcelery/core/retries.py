"""When a failed attempt runs again: a pure function of the policy, the count of failures and the error."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any
from uuid import UUID

from wfcelery.definition.plan import RetryPolicy

NO_RETRY = RetryPolicy(count=0)
JITTER = 0.25  # at most a quarter is added, never taken away: no attempt comes before its time
LOST_DELAY = 1.0  # seconds before the second attempt after a lost worker; doubled each time


def backoff(policy: RetryPolicy, failures: int) -> float:
    """Seconds before the attempt that follows the n-th failure: delay, delay·n or delay·2^(n-1), capped."""
    match policy.backoff:
        case "constant":
            seconds = policy.delay
        case "linear":
            seconds = policy.delay * failures
        case "exponential":
            seconds = policy.delay * 2.0 ** min(failures - 1, 60)
    return seconds if policy.max_delay is None else min(seconds, policy.max_delay)


def jittered(seconds: float, step: UUID, failures: int) -> float:
    """`seconds` and up to a quarter more; the same step and failure always give the same time."""
    drawn = blake2b(step.bytes + failures.to_bytes(4, "big"), digest_size=4).digest()
    return seconds * (1 + JITTER * int.from_bytes(drawn, "big") / 0xFFFFFFFF)


def next_attempt(
    policy: RetryPolicy, step: UUID, failures: int, error: Mapping[str, Any], asked: float | None, elapsed: float | None
) -> float | None:
    """Seconds until the next attempt after the n-th failure, or None: the failure is final.

    `asked` is what the code itself wanted (`RetryLater`); it replaces the computed time, never the budget.
    """
    if failures > policy.count or error.get("type") in policy.non_retryable:
        return None
    if policy.on_error is not None and not policy.on_error.holds({"error": dict(error)}):
        return None
    if asked is not None:
        seconds = asked
    else:
        seconds = backoff(policy, failures)
        if policy.jitter:
            seconds = jittered(seconds, step, failures)
    if policy.total is not None and elapsed is not None and elapsed + seconds > policy.total:
        return None
    return seconds


def after_loss(lost: int) -> float:
    """Seconds until the next attempt after the n-th lost worker: 0 for the first, then 1, 2, 4 …, at most 60."""
    return 0.0 if lost <= 1 else min(LOST_DELAY * 2.0 ** (lost - 2), 60.0)
