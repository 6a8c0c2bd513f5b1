"""A Celery task that somebody wrote without us, read as a step: what it says of retries, limits and queues."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from celery.utils.time import rate

from wfcelery.definition.plan import RetryPolicy
from wfcelery.engine.ports import Policy

ENDLESS = 1_000_000  # Celery's max_retries=None
PICKLERS = frozenset({"pickle", "application/x-python-serialize"})


def policy_of(task: Any) -> Policy:
    """What the task's own options mean to the engine.

    A failure is tried again only where the task asked for it (`self.retry`, `autoretry_for`); that is seen
    in the call. The count here is its budget, the delay what a lost or late attempt waits.
    """
    count = ENDLESS if task.max_retries is None else int(task.max_retries)
    hard, soft = task.time_limit, task.soft_time_limit
    return Policy(
        retry=RetryPolicy(count=count, delay=float(task.default_retry_delay or 0), backoff="constant", max_delay=None, jitter=False),
        timeout=None if hard is None else float(hard),
        soft_timeout=None if soft is None else float(soft),
        hard_limit=None if hard is None else float(hard),
        queue=_queue(task),
        priority=task.priority if isinstance(getattr(task, "priority", None), int) else None,
        gates=_gates(task),
    )


def _gates(task: Any) -> tuple[dict[str, Any], ...]:
    """Its `rate_limit`, of the whole fleet: Celery's own is each worker's."""
    a_second = rate(getattr(task, "rate_limit", None))
    return ({"kind": "rate", "key": task.name, "every": 1 / a_second, "burst": 1},) if a_second else ()


def _queue(task: Any) -> str | None:
    queue = getattr(task, "queue", None)
    return getattr(queue, "name", queue)


def refusals(task: Any, given: Collection[str] | None = None) -> list[str]:
    """Why this task cannot be a step, as sentences. `given` are the names of the arguments a definition passes."""
    found = []
    if (task.serializer or task.app.conf.task_serializer) in PICKLERS:
        found.append(f"{task.name} uses the pickle serializer; what a workflow carries has to be readable by more than this code")
    if given is not None and "*" not in given and task.typing:
        try:
            task.__header__(**dict.fromkeys(given))
        except TypeError as problem:
            found.append(f"{task.name} cannot be called like this: {problem}")
    return found


def without_effect(task: Any) -> list[str]:
    """Options of the task that mean nothing in a workflow, as sentences for `doctor` and the log."""
    app = task.app
    said = {
        "acks_late": task.acks_late and not app.conf.task_acks_late,
        "expires": getattr(task, "expires", None) is not None,
        "ignore_result": task.ignore_result and not app.conf.task_ignore_result,
    }
    return [f"{task.name}: {name} has no effect in a workflow" for name, is_said in said.items() if is_said]
