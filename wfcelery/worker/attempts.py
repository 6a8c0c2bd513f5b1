"""One attempt inside Celery's tracer: what happens between the tracer and the author's function.

The tracer must see how the attempt ends for the run: a failure that will be tried again leaves as Celery's
`Retry`, the last one as itself. So the decision is made here, next to the author's code and beneath whatever
wraps a task's `run` (Sentry does): one error is filed, not one per attempt.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from functools import wraps
from typing import Any

from celery.app.trace import task_has_custom
from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded
from celery.result import ResultBase

from wfcelery.authoring.registry import StepSpec
from wfcelery.core import retries
from wfcelery.definition.plan import RetryPolicy
from wfcelery.definition.spans import seconds
from wfcelery.engine.ports import Call, Outcome, Raised, Returned
from wfcelery.errors import AttemptCancelled, CannotCarry, GiveUp, QuotaExceeded, RetryLater
from wfcelery.worker.limits import soft_limit
from wfcelery.worker.loops import LOOP
from wfcelery.worker.sanitizing import error, error_of

NOT_SET: Any = object()
NO_REQUEUE = "Reject(requeue=True) has no meaning in a workflow: raise RetryLater, or self.retry()"


class Refused(Exception):  # noqa: N818 - it says what happened
    """The task did what has no meaning in a workflow."""

    code = "refused"


@dataclass(slots=True)
class Attempt:
    """What is known of the attempt that this thread executes."""

    task: Any
    call: Call
    spec: StepSpec
    policy: RetryPolicy | None
    own_policy: bool  # an adopted task that decides itself what is tried again
    repeats: Callable[[BaseException], bool] = lambda error: False  # noqa: ARG005 - a clash of transactions is no failure
    entered: bool = False
    result: Any = NOT_SET
    stored: Any = None
    raised: Raised | None = None
    cause: BaseException | None = field(default=None, repr=False)

    def execute(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the author's code; leave by its result, or as the tracer shall see the failure."""
        try:
            with soft_limit(self.call.soft_timeout):
                result = function(*args, **kwargs)
            if inspect.iscoroutine(result):
                result = LOOP.run(result, self.call.soft_timeout)
            self.result, self.stored = result, self._carry(result)
        except Reject as rejected:
            raise self._refused(rejected) from rejected
        except (Retry, Ignore):
            raise
        except AttemptCancelled as cancelled:
            self.raised = Raised(error("AttemptCancelled", cancelled.code, str(cancelled)))
            raise Ignore(str(cancelled)) from cancelled
        except Exception as failure:  # the author's code
            self.cause = failure
            self.raised, pause = self._failed(failure)
            if pause is None:
                raise
            raise Retry(type(failure).__name__, failure, pause, is_eager=True) from failure
        return result

    def _carry(self, result: Any) -> Any:
        if isinstance(result, ResultBase):
            raise Refused(f"{self.call.action} returned an {type(result).__name__}; return the value, or make what it waits for a step")
        return self.spec.carry(result)

    def _refused(self, rejected: Reject) -> Exception:
        text = NO_REQUEUE if rejected.requeue else str(rejected.reason)
        refused = Refused(text)
        self.cause = refused
        self.raised = Raised(error("Refused" if rejected.requeue else "Reject", "refused", text), final=True)
        return refused

    def _failed(self, failure: Exception) -> tuple[Raised, float | None]:
        """How the failure is reported, and in how many seconds Celery is told that it will be tried again."""
        asked = seconds(failure.after) if isinstance(failure, RetryLater) else None
        final = isinstance(failure, GiveUp | Refused | CannotCarry) or (self.own_policy and asked is None and self._has_budget())
        late = isinstance(failure, SoftTimeLimitExceeded)
        kept = error_of(failure)
        if isinstance(failure, QuotaExceeded):
            pause = seconds(failure.after)
            return Raised(kept, quota=pause), pause
        raised = Raised(kept, retry_in=asked, final=final, end="timed_out" if late else "failed")
        if self.repeats(failure):
            return raised, 0.0
        if final or self.policy is None:
            return raised, None
        return raised, retries.next_attempt(self.policy, self.call.step, self.call.failures + 1, kept, asked, None)

    def outcome(self, state: str | None, value: Any) -> Outcome:
        """What came of it, from what the tracer says (None: success)."""
        if state is None or (state == "IGNORED" and self.raised is None):
            return Returned(self.stored if value is self.result else self._carried(value))
        if self.raised is not None:
            return self.raised
        if state == "RETRY":
            return Raised(error_of(value.exc if isinstance(value.exc, BaseException) else value), retry_in=self._pause(value.when))
        # What a base class or a handler of the task raised around the function itself.
        own = self.own_policy and self._has_budget()
        return Raised(error_of(value), final=own or isinstance(value, GiveUp | Refused | Reject | CannotCarry))

    def _has_budget(self) -> bool:
        """Whether it is the failure that is final, or the budget that is spent."""
        return self.policy is not None and self.call.failures < self.policy.count

    def _carried(self, value: Any) -> Any:
        return None if isinstance(value, BaseException) else self._carry(value)

    def _pause(self, when: Any) -> float | None:
        if isinstance(when, datetime):
            now = self.task.app.now()
            return max(0.0, float((when - (now if when.tzinfo else now.replace(tzinfo=None))).total_seconds()))
        return None if when is None else max(0.0, float(when))


CURRENT: ContextVar[Attempt | None] = ContextVar("wfcelery_attempt", default=None)


def prepare(task: Any) -> None:
    """Put ourselves between a task and its function. Whoever calls the task without us feels nothing."""
    if task.__dict__.get("_wfcelery_prepared"):
        return
    inner = task.run
    if task.__dict__.get("_sentry_is_patched") and not task_has_custom(task, "__call__"):
        # sentry-sdk has wrapped it when the worker began. It shall wrap what we put here, when our tracer is built.
        inner = getattr(inner, "__wrapped__", inner)
        task._sentry_is_patched = False

    @wraps(inner)
    def run(*args: Any, **kwargs: Any) -> Any:
        attempt = CURRENT.get()
        if attempt is None or attempt.entered or attempt.task is not task:
            return inner(*args, **kwargs)
        attempt.entered = True
        return attempt.execute(inner, args, kwargs)

    task.run = run
    _refuse_replacement(task)
    task._wfcelery_prepared = True


def _refuse_replacement(task: Any) -> None:
    replace = task.replace

    def refusing(signature: Any) -> Any:
        attempt = CURRENT.get()
        if attempt is None or attempt.task is not task:
            return replace(signature)
        raise Refused(f"{task.name} calls self.replace, which has no meaning in a workflow: make the other task a step after it")

    task.replace = refusing
