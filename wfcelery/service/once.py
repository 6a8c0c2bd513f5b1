"""The idempotency registry: under one key a function runs once while its result is kept, whoever asks."""

from __future__ import annotations

from collections.abc import Callable
from time import sleep
from typing import TypeVar, cast
from uuid import uuid4

from wfcelery.authoring.context import running_step
from wfcelery.clock import monotonic
from wfcelery.definition.spans import seconds
from wfcelery.definition.values import decode, dumps, encode, loads
from wfcelery.errors import Duration, InProgress
from wfcelery.service.asked import check_text
from wfcelery.service.context import current
from wfcelery.store import idempotency

R = TypeVar("R")


def once(key: str, fn: Callable[..., R], /, *args: object, expires: Duration = "24h", wait: Duration = "10s") -> R:
    """Run `fn(*args)` under `key`, once: the first caller runs it and its result is kept for `expires`.

    A second caller gets that result; one who comes while it runs waits for `wait`, then gets `InProgress`. Where
    `fn` raises, nothing is kept and the next caller runs it. Where a step's attempt dies in it, the step's next
    attempt runs it again; any other process that dies leaves its key in progress until it expires. Keys are those
    of one organization and function; results come back as JSON keeps them.
    """
    check_text("once", "key", key)
    kept_for, patience = seconds(expires), seconds(wait)
    return _once(key, kept_for, patience, lambda: fn(*args), _scope(fn))


def _scope(fn: Callable[..., object]) -> str:
    return f"{getattr(fn, '__module__', '')}.{getattr(fn, '__qualname__', getattr(fn, 'name', type(fn).__name__))}"


def _once(key: str, expires: float, wait: float, fn: Callable[[], R], scope: str) -> R:
    context, step = current(), running_step()
    organization = step.organization_id if step is not None else context.settings.organization_id
    attempt = None if step is None else step.token  # whose death lets the step's next attempt take the key over
    token, began, pause = attempt or uuid4(), monotonic(), 0.01
    while True:
        with context.transaction() as tx:
            entry = idempotency.begin(tx, organization, scope, key, token, expires, attempt=attempt is not None)
        if entry.mine:
            break
        if entry.result is not None:
            return cast(R, decode(loads(entry.result)))
        if monotonic() - began >= wait:
            raise InProgress(key)
        sleep(pause)
        pause = min(pause * 1.5, 0.25)
    try:
        result = fn()
        text = dumps(encode(result))
    except BaseException:
        with context.transaction() as tx:
            idempotency.forget(tx, organization, scope, key, token)
        raise
    with context.transaction() as tx:
        idempotency.keep(tx, organization, scope, key, token, text)
    return cast(R, decode(loads(text)))
