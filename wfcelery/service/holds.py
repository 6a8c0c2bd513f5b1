"""Hold a step, a workflow, a queue or an organization: nothing of it begins, and nothing fails, until it is released."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from wfcelery.definition.gating import every as every_of
from wfcelery.definition.spans import seconds
from wfcelery.errors import Duration, InvalidInput, InvalidSpan, NotFound
from wfcelery.service.asked import check_text, text_fault
from wfcelery.service.context import Context, current
from wfcelery.service.views import HeldUpView, LimitUserView, LimitView
from wfcelery.store import audit, held_up
from wfcelery.store import holds as stored

MOST = 1_000  # limits, or users of one, that are told at once
_SCOPE = re.compile(r"(step|workflow|queue|org):\S.*")
_WAYS = "it is step:<name>, workflow:<name>, queue:<name> or org:<name>"


def hold(
    scope: str,
    *,
    reason: str | None = None,
    until: datetime | Duration | None = None,
    by: str | None = None,
    organization_id: str | None = None,
) -> None:
    """Let nothing begin of `step:charge`, `workflow:order`, `queue:payments` or `org:acme`; what is under way ends as it ends.

    A worker that is at work heeds it within about two seconds. `until` is a moment or a span after which it is released by
    itself; without one it stands until `release`. `organization_id`: of this organization alone; without one, of all. To
    hold what is held gives it these terms. Raises `InvalidInput` with all that is wrong.
    """
    _hold(current(), scope, reason, until, by, organization_id)


async def ahold(scope: str, **options: Any) -> None:
    """`hold` from a coroutine."""
    await asyncio.to_thread(lambda: hold(scope, **options))


def release(scope: str, *, rate: str | None = None, by: str | None = None, organization_id: str | None = None) -> None:
    """Let go what `hold` holds: all at once, or at a `rate` such as "20/s". Raises `NotFound` where nobody holds it."""
    context = current()
    wrong = _faults(scope, by=by)
    pace: float | None = None
    if rate is not None:
        try:
            pace = every_of(rate)
        except ValueError as problem:
            wrong.append(("rate", str(problem)))
    if wrong:
        raise InvalidInput("release", wrong)
    home = organization_id or stored.EVERY_ORGANIZATION
    with context.transaction() as tx:
        if not stored.release(tx, home, scope, pace):
            raise NotFound("hold", scope)
        audit.tell(tx, _whose(context, organization_id), None, "release", by, scope)


async def arelease(scope: str, **options: Any) -> None:
    """`release` from a coroutine."""
    await asyncio.to_thread(lambda: release(scope, **options))


def _hold(
    context: Context, scope: str, reason: str | None, until: datetime | Duration | None, by: str | None, organization_id: str | None
) -> None:
    wrong = _faults(scope, reason=reason, by=by)
    lasts: float | None = None
    if until is not None and not isinstance(until, datetime):
        try:
            lasts = seconds(until)
        except InvalidSpan as problem:
            wrong.append(("until", str(problem)))
    if wrong:
        raise InvalidInput("hold", wrong)
    moment = until.replace(tzinfo=until.tzinfo or UTC) if isinstance(until, datetime) else None
    home = organization_id or stored.EVERY_ORGANIZATION
    with context.transaction() as tx:
        stored.put(tx, home, scope, reason, by, moment, lasts)
        audit.tell(tx, _whose(context, organization_id), None, "hold", by, scope if reason is None else f"{scope}: {reason}")


def _whose(context: Context, organization_id: str | None) -> str:
    return organization_id or context.settings.organization_id


def _faults(scope: object, **texts: str | None) -> list[tuple[str, str]]:
    wrong: list[tuple[str, str]] = []
    if not isinstance(scope, str) or not _SCOPE.fullmatch(scope):
        wrong.append(("scope", _WAYS))
    for name, given in {"scope": scope, **texts}.items():
        fault = None if given is None else text_fault(given)
        if fault is not None:
            wrong.append((name, fault))
    return wrong


def what_is_held_up(context: Context) -> Sequence[HeldUpView]:
    """What is held and why, since when, and what lets it go."""
    with context.transaction() as tx:
        holds, limits, paused = held_up.holds(tx), held_up.limits(tx, MOST), held_up.paused(tx)
    found = [
        HeldUpView(
            what=f"hold:{each.scope}",
            status=each.status,
            steps=each.steps,
            runs=each.runs,
            since=each.held_at,
            until=each.until,
            reason=each.reason,
            by=each.actor,
            remedy=f"wfcelery release {each.scope}",
        )
        for each in holds
    ]
    for limit in limits:
        if limit.waiting:
            what, remedy = f"{limit.kind}:{limit.key}", f"wfcelery limits show {limit.key}"
            status = "open" if limit.open_until is not None else "waiting"
            found.append(HeldUpView(what=what, status=status, steps=limit.waiting, runs=limit.runs, since=limit.since, remedy=remedy))
    for why, runs in paused:
        found.append(HeldUpView(what="paused", status="paused", runs=runs, reason=why, remedy="wfcelery runs resume RUN"))
    return found


def limits_in_use(context: Context) -> Sequence[LimitView]:
    """Every limit, lock, rate and breaker that is in use now."""
    with context.transaction() as tx:
        found, now = held_up.limits(tx, MOST), held_up.now(tx)
    return [
        LimitView(
            organization_id=each.organization_id,
            kind=each.kind,
            key=each.key,
            slots=each.slots,
            every=each.every,
            burst=each.burst,
            failures=each.failures,
            status="closed" if each.open_until is None else "open" if each.open_until > now else "half open",
            used=each.used,
            waiting=each.waiting,
            since=each.since,
        )
        for each in found
    ]


def users_of(context: Context, key: str) -> Sequence[LimitUserView]:
    """Who uses the limits of a key, and who waits, in their order. Raises `NotFound`."""
    check_text("limits show", "key", key)
    with context.transaction() as tx:
        found = held_up.users(tx, key, MOST)
        known = found or any(each.key == key for each in held_up.limits(tx, MOST))
    if not known:
        raise NotFound("limit", key)
    return [
        LimitUserView(
            kind=each.kind,
            status="using" if each.granted else "waiting",
            run=str(each.run),
            step=each.name,
            since=each.asked_at,
            due=each.due_at,
        )
        for each in found
    ]
