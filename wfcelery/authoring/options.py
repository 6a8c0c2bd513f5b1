"""What an author may say about a step, a call of it, and a workflow: names, types, and what is refused at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, get_args

from wfcelery.authoring.gates import Breaker, Concurrency, Limit, Rate, check_gate
from wfcelery.authoring.triggers import OnEvent
from wfcelery.definition.document import ParentClose
from wfcelery.definition.expressions import Expression, bare
from wfcelery.definition.plan import RetryPolicy
from wfcelery.definition.shares import Share
from wfcelery.definition.spans import seconds
from wfcelery.errors import AuthoringError, Duration

Backoff = Literal["constant", "linear", "exponential"]
Isolation = Literal["read committed", "repeatable read", "serializable"]
Commit = Literal["group", "each"]
OnError = Literal["stop", "compensate"]
Undo = Callable[..., object] | str  # a step, or the name of one
# An expression over item and index, or a function that is called with references to them.
ItemTest = str | Callable[[Any], object] | Callable[[Any, Any], object]
OF_ITEMS = ("filter", "when", "concurrency", "success", "tolerate", "commit")  # what only a fan-out's call takes


class StepOptions(TypedDict, total=False):
    """What `@step(...)` takes."""

    name: str
    retry: Retry | None
    timeout: Duration | None
    soft_timeout: Duration | None
    queue: str
    priority: int
    transactional: bool
    isolation: Isolation
    aliases: Sequence[str]
    commit: Commit
    limit: Limit
    lock: str
    rate: Rate | str
    breaker: Breaker
    compensate: Undo | None  # what undoes it, where a call says nothing else
    on_error: OnError


class CallOptions(TypedDict, total=False):
    """What `.options(...)` takes beside `on_error` and `compensate`."""

    name: str
    after: object  # a reference, an End, or a list of them
    join: int
    cancel_rest: bool
    cancels: object  # a region, what a step returned, or a list of them
    when_reached: object  # what a step returned, or a list
    unless_reached: object  # likewise
    retry: Retry | None
    timeout: Duration | None
    soft_timeout: Duration | None
    queue: str
    priority: int
    filter: ItemTest
    when: ItemTest
    concurrency: int
    success: int | str  # items that have to succeed, or a percentage of them such as "80%"
    tolerate: int | str  # items that may fail, likewise
    commit: Commit
    limit: Limit
    lock: str  # a limit of one slot: a text, or a reference
    rate: Rate | str
    breaker: Breaker


class ChildOptions(TypedDict, total=False):
    """What `.options(...)` of a workflow takes beside `on_error`."""

    name: str
    after: object
    join: int
    cancel_rest: bool
    parent_close: ParentClose
    timeout: Duration | None  # the child's deadline
    retry: Retry | None
    queue: str
    priority: int
    filter: ItemTest
    when: ItemTest
    concurrency: int
    success: int | str
    tolerate: int | str


class WaitOptions(TypedDict, total=False):
    """What every wait takes."""

    name: str
    after: object
    cancels: object
    when_reached: object
    unless_reached: object


class EventOptions(WaitOptions, total=False):
    """What a wait for an event takes beside its type and its key."""

    timeout: Duration | None  # after which the wait ends as timed_out
    keep: bool  # False: an event that came before is not heard
    roles: Sequence[str]  # who may send it


class ApprovalOptions(WaitOptions, total=False):
    """What an approval takes beside its title and form."""

    assignees: object  # role:finance, names of actors, or a value of the run
    remind: Duration | None
    escalate: Sequence[tuple[Duration, str | Sequence[str]]]
    timeout: Duration | None


class LoopOptions(WaitOptions, total=False):
    """What `loop(...)` takes beside its conditions."""

    every: Duration  # between the end of a round and the next
    timeout: Duration | None  # of each round
    parent_close: ParentClose
    with_items: object  # a list, or what a step returned: one round for each, one after the other


class WorkflowOptions(TypedDict, total=False):
    """What `@workflow(...)` takes."""

    name: str
    version: str
    timeout: Duration | None
    key: str  # a template over the parameters: "order-{{ parameters.order.id }}"
    tags: Sequence[str]
    concurrency: Concurrency
    triggers: Sequence[OnEvent]  # on_event(…): which events start it
    on_error: OnError
    on_failure: Undo  # called when a run has failed or is too late, before it has ended
    on_cancel: Undo  # when it is cancelled
    on_complete: Undo  # last, however it ends


@dataclass(frozen=True, slots=True)
class Retry:
    """When a failed step runs again. Attempts are `count` + 1."""

    count: int = 3
    delay: Duration = "1s"
    backoff: Backoff = field(default="exponential", kw_only=True)
    max_delay: Duration | None = field(default="1m", kw_only=True)
    jitter: bool = field(default=True, kw_only=True)
    on_error: str | None = field(default=None, kw_only=True)
    non_retryable: Sequence[type[Exception] | str] = field(default=(), kw_only=True)
    total: Duration | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_whole("Retry(count)", self.count, 0)
        check_choice("Retry(backoff)", self.backoff, ("constant", "linear", "exponential"))
        for name in ("delay", "max_delay", "total"):
            check_span(f"Retry({name})", getattr(self, name))

    def policy(self) -> RetryPolicy:
        """The same, as the engine reads it."""
        return RetryPolicy(
            count=self.count,
            delay=seconds(self.delay),
            backoff=self.backoff,
            max_delay=None if self.max_delay is None else seconds(self.max_delay),
            jitter=self.jitter,
            on_error=None if self.on_error is None else Expression.parse(bare(self.on_error)),
            non_retryable=self._names(),
            total=None if self.total is None else seconds(self.total),
        )

    def document(self) -> dict[str, Any]:
        """The same, as a definition writes it."""
        said: dict[str, Any] = {"count": self.count, "delay": seconds(self.delay), "backoff": self.backoff, "jitter": self.jitter}
        if self.max_delay is not None:
            said["max_delay"] = seconds(self.max_delay)
        if self.on_error is not None:
            said["on_error"] = self.on_error
        if self.non_retryable:
            said["non_retryable"] = list(self._names())
        if self.total is not None:
            said["total"] = seconds(self.total)
        return said

    def _names(self) -> tuple[str, ...]:
        return tuple(kind if isinstance(kind, str) else kind.__name__ for kind in self.non_retryable)


# ---- what is refused where it is written -----------------------------------------------------------------------------


def check_options(where: str, given: Mapping[str, Any], allowed: Iterable[str]) -> None:
    """Every option is known and has a value that can be meant; the first that is not is told."""
    known = set(allowed)
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; it takes {', '.join(sorted(known))}"
            raise AuthoringError(f"{where} has no option {name}{hint}")
        check = _CHECKS.get(name)
        if check is not None:
            check(f"{where}, {name}", value)


def check_span(where: str, value: Any) -> None:
    if value is None:
        return
    try:
        seconds(value)
    except ValueError as error:
        raise AuthoringError(f"{where}: {error}") from None


def check_whole(where: str, value: Any, least: int, most: int | None = None) -> None:
    bound = f"from {least} to {most}" if most is not None else f"from {least} on"
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        raise AuthoringError(f"{where} is a whole number {bound}, not {value!r}")


def check_choice(where: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise AuthoringError(f"{where} is one of {', '.join(choices)}, not {value!r}{hint}")


def _check_text(where: str, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise AuthoringError(f"{where} is a text, not {value!r}")


def _check_flag(where: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise AuthoringError(f"{where} is True or False, not {value!r}")


def _check_retry(where: str, value: Any) -> None:
    if value is not None and not isinstance(value, Retry):
        raise AuthoringError(f"{where} is a Retry(...) or None, not {value!r}")


def _check_texts(where: str, value: Any) -> None:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        raise AuthoringError(f"{where} is a list of texts, not {value!r}")


def _check_triggers(where: str, value: Any) -> None:
    if not isinstance(value, list | tuple) or not all(isinstance(each, OnEvent) for each in value):
        raise AuthoringError(f"{where} is a list of on_event(...), not {value!r}")


def _check_item_test(where: str, value: Any) -> None:
    if not (isinstance(value, str) and value.strip()) and not callable(value):
        raise AuthoringError(f"{where} is an expression over item and index, or a function of them, not {value!r}")


def _check_share(where: str, value: Any, least: int) -> None:
    if isinstance(value, str):
        try:
            if Share.parse(value).at_least(1) >= least:
                return
        except ValueError as error:
            raise AuthoringError(f"{where}: {error}") from None
        raise AuthoringError(f"{where} is more than {value}")
    check_whole(where, value, least)


_TASK_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_task_name(where: str, value: Any) -> None:
    if not isinstance(value, str) or not _TASK_NAME.fullmatch(value):
        raise AuthoringError(f"{where} is a name of letters, digits and underscores, as expressions say task.<name>, not {value!r}")


def _check_concurrency(where: str, value: Any) -> None:
    if not isinstance(value, Concurrency):
        check_whole(where, value, 1)


_CHECKS: Mapping[str, Callable[[str, Any], None]] = {
    "name": _check_text,
    "version": _check_text,
    "key": _check_text,
    "queue": _check_text,
    "aliases": _check_texts,
    "tags": _check_texts,
    "on_error": lambda where, value: check_choice(where, value, get_args(OnError)),
    "roles": _check_texts,
    "triggers": _check_triggers,
    "keep": _check_flag,
    "retry": _check_retry,
    "timeout": check_span,
    "remind": check_span,
    "every": check_span,
    "parent_close": lambda where, value: check_choice(where, value, get_args(ParentClose)),
    "soft_timeout": check_span,
    "priority": lambda where, value: check_whole(where, value, 0, 255),
    "join": lambda where, value: check_whole(where, value, 1),
    "filter": _check_item_test,
    "when": _check_item_test,
    "success": lambda where, value: _check_share(where, value, 1),
    "tolerate": lambda where, value: _check_share(where, value, 0),
    "limit": lambda where, value: check_gate("limit", where, value),
    "lock": lambda where, value: check_gate("lock", where, value),
    "rate": lambda where, value: check_gate("rate", where, value),
    "breaker": lambda where, value: check_gate("breaker", where, value),
    "concurrency": _check_concurrency,
    "transactional": _check_flag,
    "cancel_rest": _check_flag,
    "commit": lambda where, value: check_choice(where, value, ("group", "each")),
    "isolation": lambda where, value: check_choice(where, value, ("read committed", "repeatable read", "serializable")),
}

NO_RETRY = Retry(count=0)
