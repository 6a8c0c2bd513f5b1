"""How runs begin: one insert, in the app's own transaction where there is one, and a ring after the commit.

Nothing of a workflow runs here: no template, no routing, no step. A run of version 0 is its own wish to be begun.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypedDict
from uuid import UUID

from typing_extensions import TypeVar, Unpack

from wfcelery.authoring.context import running_step
from wfcelery.authoring.decorators import Bound
from wfcelery.clock import uuid7
from wfcelery.core.decision import RingRun
from wfcelery.definition.spans import seconds
from wfcelery.definition.values import dumps
from wfcelery.errors import AuthoringError, Duration, InvalidInput, KeyConflict
from wfcelery.service import definitions
from wfcelery.service.asked import check_names, check_options, check_text
from wfcelery.service.context import Context, Joined, current
from wfcelery.service.handles import Run
from wfcelery.service.joining import joined_transaction
from wfcelery.store.database import Tx
from wfcelery.store.failures import CommitUnknown
from wfcelery.store.loading import organization_of
from wfcelery.store.starting import Found, NewRun, find_by_key, free_key, insert_run

log = logging.getLogger(__name__)

AnyT = TypeVar("AnyT", default=Any)


class StartOptions(TypedDict, total=False):
    """What `start_workflow` takes beside the workflow and its input."""

    version: str
    key: str | None
    on_conflict: Literal["return", "raise", "new_if_ended"]
    queue: str
    priority: int
    delay: Duration
    deadline: datetime | Duration
    tags: Sequence[str]
    organization_id: str
    connection: object
    session: object
    using: str
    join: bool


@dataclass(frozen=True, slots=True)
class Start:
    """A start, validated: everything wrong with it has been said before anything is written."""

    signature: str
    run: NewRun
    on_conflict: str


def start_workflow(what: Bound[AnyT] | str, input: Mapping[str, Any] | None = None, /, **options: Unpack[StartOptions]) -> Run[AnyT]:  # noqa: A002
    """Start a run; it will reach an end, whatever dies on the way.

    By a name, `version` says which definition: a label, or "latest" (the default), the newest first stored. It is pinned now.
    Inside Django's `atomic()`, a SQLAlchemy `session=` or a `connection=` on the same database the run exists
    if and only if that transaction commits; `join=False` commits apart. Workers are told after the commit. Where
    the transaction is one of another database, the start happens after its commit, and is lost if the process dies
    in between; an error of the start then comes out of the commit. With
    a `key`, the run of that key and input is returned in whatever state it is; another input raises
    `KeyConflict`. `delay` and a relative `deadline` are spans (seconds, "30s", timedelta), a `deadline` with a
    date is a moment (UTC where it has no zone). Raises `InvalidInput` with every fault, `DefinitionProblems`,
    `NotFound`.
    """
    context = current()
    joined = joined_transaction(context, dict(options))
    if joined is None:
        start = _prepare(context, what, input, options, None)
        run = _insert_alone(context, start)
        _ring(context, start, run)
    elif joined.tx is None:
        start = _prepare(context, what, input, options, None)
        run = _insert_later(context, joined, start)
    else:
        start = _prepare(context, what, input, options, joined.tx if context.database.dialect == "sqlite" else None)
        run = _insert(joined.tx, start)
        _ring_after(context, joined, start, run)
    return Run(str(run), key=start.run.key)


async def astart_workflow(
    what: Bound[AnyT] | str,
    input: Mapping[str, Any] | None = None,  # noqa: A002
    /,
    **options: Unpack[StartOptions],
) -> Run[AnyT]:
    """`start_workflow` from a coroutine: the same promise, in a thread; it joins only what it is given.

    An `AsyncSession` or `AsyncConnection` is joined where it lives, in the coroutine's own thread.
    """
    for name in ("session", "connection"):
        run_sync = getattr(options.get(name), "run_sync", None)
        if run_sync is not None:
            found: Run[AnyT] = await run_sync(lambda given, name=name: start_workflow(what, input, **{**options, name: given}))
            return found
    return await asyncio.to_thread(lambda: start_workflow(what, input, **options))


def _prepare(context: Context, what: Bound[Any] | str, given: Mapping[str, Any] | None, options: StartOptions, tx: Tx | None) -> Start:
    check_options(_named(what), options)
    if isinstance(what, Bound):
        if given is not None:
            raise AuthoringError("a bound workflow already has its input: start_workflow(order.bind(...)) takes no second argument")
        if "version" in options:
            raise AuthoringError("a bound workflow starts by its own graph: version= is for a start by name")
        signature, name, stored = definitions.of_bound(context, what, tx)
    elif isinstance(what, str):
        check_names(what, {} if given is None else given)
        signature, name, stored = definitions.by_name(context, what, given or {}, tx, options.get("version", definitions.LATEST))
    else:
        raise AuthoringError(
            f"start_workflow takes a bound workflow, or a name and an input; {type(what).__name__} is neither: write x.bind(...)"
        )
    text = dumps(stored)
    if len(text) > context.settings.input_limit:
        raise InvalidInput(name, [("input", f"it has {len(text)} bytes, more than {context.settings.input_limit}")])
    key, workflow_key = options.get("key"), definitions.own_key(what)
    step = running_step()
    if key is None and workflow_key is None and step is not None:
        key = step.next_start_key()
    key = key if key is not None else workflow_key
    if key is not None:
        check_text(name, "key", key)
    delay = options.get("delay")
    deadline = options.get("deadline")
    organization = options.get("organization_id") or (step.organization_id if step else context.settings.organization_id)
    new = NewRun(
        id=uuid7(),
        organization_id=organization,
        workflow=name,
        definition=signature,
        input=text,
        input_digest=context.database.payloads.digest(text.encode(), organization),
        key=key,
        queue=options.get("queue"),
        priority=options.get("priority"),
        tags=list(options.get("tags") or ()) or definitions.own_tags(what),
        delay=None if delay is None else seconds(delay),
        deadline=_moment(deadline) if isinstance(deadline, datetime) else None,
        deadline_in=_span(deadline, what),
        rings=context.rings,
    )
    return Start(signature, new, options.get("on_conflict", "return"))


def _named(what: Bound[Any] | str) -> str:
    return what.definition.name if isinstance(what, Bound) else what if isinstance(what, str) else "start_workflow"


def _span(deadline: datetime | Duration | None, what: Bound[Any] | str) -> float | None:
    if isinstance(deadline, datetime):
        return None
    return definitions.own_timeout(what) if deadline is None else seconds(deadline)


def _moment(time: datetime) -> datetime:
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _insert_alone(context: Context, start: Start) -> UUID:
    """In a transaction of our own: one statement, unless the key is taken."""
    try:
        with context.database.single() as tx:
            if insert_run(tx, start.run):
                return start.run.id
    except CommitUnknown:  # a connection that died in the pool, most likely; the run's id tells
        with context.transaction() as tx:
            if organization_of(tx, start.run.id) is not None:
                return start.run.id
    with context.transaction() as tx:
        return _insert(tx, start)


def _insert(tx: Tx, start: Start) -> UUID:
    """Insert the run, or find the one its key names; the database decides between two at once."""
    if insert_run(tx, start.run):
        return start.run.id
    found = find_by_key(tx, start.run.organization_id, start.run.workflow, start.run.key or "")
    if found is not None and start.on_conflict == "new_if_ended" and found.ended:
        free_key(tx, found.id)
        if insert_run(tx, start.run):
            return start.run.id
        found = find_by_key(tx, start.run.organization_id, start.run.workflow, start.run.key or "")
    if found is None and insert_run(tx, start.run):  # the run that held the key has just expired
        return start.run.id
    if found is None:
        raise KeyConflict(start.run.key or "", "nobody can see yet", "in a transaction that has not ended")
    return _same(start, found)


def _insert_later(context: Context, joined: Joined, start: Start) -> UUID:
    """The transaction is another database's: insert after its commit. What a key has to say is said now, as far as known."""
    key = start.run.key
    if key is not None:
        with context.transaction() as tx:
            found = find_by_key(tx, start.run.organization_id, start.run.workflow, key)
        if found is not None and not (found.ended and start.on_conflict == "new_if_ended"):
            return _same(start, found)

    def insert() -> None:
        run = _insert_alone(context, start)
        if run != start.run.id:
            log.warning("run %s was not started: meanwhile key %r of %s was taken by run %s", start.run.id, key, start.run.workflow, run)
        _ring(context, start, run)

    joined.after_commit(insert)
    return start.run.id


def _same(start: Start, found: Found) -> UUID:
    """The run that holds the key, where it is the one that was meant."""
    if found.input_digest != start.run.input_digest:
        raise KeyConflict(start.run.key or "", str(found.id))
    if start.on_conflict == "raise":
        raise KeyConflict(start.run.key or "", str(found.id), "with the same input")
    return found.id


def _ring(context: Context, start: Start, run: UUID) -> None:
    if run == start.run.id and not start.run.delay:
        context.bell.ring([RingRun(start.run.organization_id, run, start.run.queue)])


def _ring_after(context: Context, joined: Joined, start: Start, run: UUID) -> None:
    if run == start.run.id and not start.run.delay:
        joined.after_commit(lambda: _ring(context, start, run))
