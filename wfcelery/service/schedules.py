"""What people ask of schedules: put, show, list, pause, resume, delete, look ahead, make up for slots that have passed.

Everything here is a transaction of its own. What is written goes over the row as it was read, so that no edit takes back what a sweep
has just done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from hashlib import sha256
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from wfcelery.authoring.decorators import Bound
from wfcelery.clock import uuid7
from wfcelery.core.decision import RingRun
from wfcelery.definition.schedule_checks import timetable_faults
from wfcelery.definition.timetables import Timetable
from wfcelery.engine.scheduling import run_of_slot
from wfcelery.errors import InvalidSchedule, NotAllowedNow, NotFound
from wfcelery.service.asked import LONGEST_NAME, check_text, text_fault
from wfcelery.service.context import Context
from wfcelery.service.terms import moment_of, terms_of, timetable_of
from wfcelery.service.views import BackfillView, ScheduleView, SlotView, UpcomingView, error_view
from wfcelery.store import schedules as stored
from wfcelery.store.database import Tx
from wfcelery.store.schedules import StoredSchedule, Terms
from wfcelery.store.starting import find_by_key, insert_run

TRIES = 10  # to write over a row that sweeps write too
BATCH = 50  # slots that are made up for in one transaction
MOST_SLOTS = 10_000


def put(
    context: Context,
    name: str,
    what: Bound[Any] | str,
    given: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> ScheduleView:
    """Make a schedule, or give the one of this name new terms; the same terms change nothing.

    A schedule stays paused. Where its times change, it goes on with the first slot from now. Raises `InvalidSchedule`.
    """
    terms = terms_of(context, name, what, given, options)
    return _view(_put(context, organization(context, options.get("organization_id")), name, terms, None))


def publish(context: Context, name: str, workflow: str, given: Mapping[str, Any], options: Mapping[str, Any]) -> bool:
    """What a definition file says of a schedule, put in place when the file says something else than last time; whether it was.

    So what was changed at run time stays, until the file changes.
    """
    terms = terms_of(context, name, workflow, given, options)
    digest = sha256(repr(terms).encode()).hexdigest()
    owner = organization(context, None)
    with context.transaction() as tx:
        found = stored.find(tx, owner, name)
    if found is not None and found.published == digest:
        return False
    _put(context, owner, name, terms, digest)
    return True


def shown(context: Context, name: str, organization_id: str | None = None) -> ScheduleView:
    """One schedule. Raises NotFound."""
    return _view(_found(context, name, organization_id))


def listed(context: Context, organization_id: str | None = None) -> Sequence[ScheduleView]:
    """Every schedule of an organization, by name."""
    with context.transaction() as tx:
        found = stored.listed(tx, organization(context, organization_id))
    return [_view(row) for row in found]


def pause(context: Context, name: str, reason: str | None = None, organization_id: str | None = None) -> ScheduleView:
    """No slot is due until `resume`; what has been started goes on. Raises NotFound."""
    if reason is not None:
        check_text("pause", "reason", reason)
    owner = organization(context, organization_id)
    with context.transaction() as tx:
        known = _is_text(name) and stored.pause(tx, owner, name, reason)
    if not known:
        raise _unknown(context, name, owner)
    return shown(context, name, owner)


def resume(context: Context, name: str, organization_id: str | None = None) -> ScheduleView:
    """It goes on with the first slot from now; those of the pause are not made up for. Raises NotFound."""

    def write(tx: Tx, found: StoredSchedule) -> bool:
        return not found.paused or stored.resume(tx, found, found.terms.timetable.after(found.now))

    return _view(_over(context, name, organization(context, organization_id), write))


def delete(context: Context, name: str, organization_id: str | None = None) -> None:
    """Forget it; what it has started goes on. Raises NotFound."""
    owner = organization(context, organization_id)
    with context.transaction() as tx:
        known = _is_text(name) and stored.delete(tx, owner, name)
    if not known:
        raise _unknown(context, name, owner)


def upcoming(context: Context, name: str, count: int = 5, organization_id: str | None = None) -> Sequence[UpcomingView]:
    """The next slots, as if it were not paused. Raises NotFound."""
    found = _found(context, name, organization_id)
    return _slots(found.terms.timetable, found.terms.time_zone, found.now, count)


def tried(context: Context, said: Mapping[str, Any], count: int = 5) -> Sequence[UpcomingView]:
    """The next slots that `cron` and `timezone`, or `every`, would give. Raises `InvalidSchedule`."""
    wrong = timetable_faults(said)
    if wrong:
        raise InvalidSchedule("to be", wrong)
    with context.transaction() as tx:
        now = stored.now(tx)
    zone = str(said.get("timezone", "UTC"))
    return _slots(timetable_of(said), zone, now, count)


def _slots(timetable: Timetable, zone: str, moment: datetime, count: int) -> Sequence[UpcomingView]:
    """The first slots of a timetable after a moment."""
    found: list[UpcomingView] = []
    slot = timetable.after(moment)
    while slot is not None and len(found) < count:
        found.append(UpcomingView(slot=slot, local=slot.astimezone(ZoneInfo(zone)).isoformat()))
        slot = timetable.after(slot)
    return found


def backfill(
    context: Context,
    name: str,
    start: datetime | str,
    end: datetime | str,
    *,
    limit: int = 100,
    dry_run: bool = False,
    organization_id: str | None = None,
) -> Sequence[BackfillView]:
    """Start the runs of all slots from `start` to `end`, both included, that have none; whatever else is going.

    May be repeated: a slot whose run is still kept is not started again. `dry_run` starts nothing. Raises
    `InvalidSchedule` where the time is not over or has more than `limit` slots, and NotFound.
    """
    found = _found(context, name, organization_id)
    slots = _between(found, start, end, limit)
    if dry_run:
        with context.transaction() as tx:
            return [_made_up(tx, found, slot) for slot in slots]
    told: list[BackfillView] = []
    for at in range(0, len(slots), BATCH):
        told += _make_up(context, found, slots[at : at + BATCH])
    return told


def run_now(context: Context, name: str, key: str | None = None, organization_id: str | None = None) -> UUID:
    """Start a run by a schedule's terms at once, whatever else is going, and paused or not; its slots and counts stay as they are.

    With a key, one run of this key, however often it is asked for. Raises NotFound, and InvalidInput where the input does not fit
    the newest definition any more.
    """
    if key is not None:
        check_text("run", "key", key)
    found = _found(context, name, organization_id)
    with context.transaction() as tx:
        new = replace(run_of_slot(tx, found, stored.now(tx), rings=context.rings), key=key)
        if insert_run(tx, new):
            started = new.id
        else:
            held = find_by_key(tx, new.organization_id, new.workflow, key or "")
            assert held is not None
            started = held.id
    context.bell.ring([RingRun(new.organization_id, started, new.queue)])
    return started


def organization(context: Context, given: str | None) -> str:
    """Whose schedules are meant."""
    return given if given is not None else context.settings.organization_id


# ---- writing ---------------------------------------------------------------------------------------------------------


def _put(context: Context, owner: str, name: str, terms: Terms, published: str | None) -> StoredSchedule:
    for _ in range(TRIES):
        with context.transaction() as tx:
            found = stored.find(tx, owner, name)
            if found is None:
                done = stored.insert(tx, uuid7(), owner, name, terms, terms.timetable.after(stored.now(tx)), published)
            elif found.terms == terms and published in (None, found.published):
                return found
            else:
                done = _edit(tx, found, terms, published)
        if done:
            return _found(context, name, owner)
    raise _busy(name)


def _edit(tx: Tx, found: StoredSchedule, terms: Terms, published: str | None) -> bool:
    """Slots that were due by the old times stay due where the times stay."""
    same = found.paused or found.terms.timetable == terms.timetable
    next_slot = found.next_slot if same else terms.timetable.after(found.now)
    due_at = next_slot if found.waiting is None else found.now
    return stored.edit(tx, found, terms, next_slot=next_slot, due_at=due_at, published=published or found.published)


def _over(context: Context, name: str, owner: str, write: Callable[[Tx, StoredSchedule], bool]) -> StoredSchedule:
    for _ in range(TRIES):
        found = _found(context, name, owner)
        with context.transaction() as tx:
            done = write(tx, found)
        if done:
            return _found(context, name, owner)
    raise _busy(name)


def _make_up(context: Context, found: StoredSchedule, slots: Sequence[datetime]) -> list[BackfillView]:
    """A batch, under the row's lock: no sweep starts one of these slots meanwhile, and nobody changes the terms."""
    rings: list[RingRun] = []
    told: list[BackfillView] = []
    with context.transaction() as tx:
        row = stored.lock(tx, found.organization_id, found.name)
        if row is None or row.terms != found.terms:
            raise NotAllowedNow(f"schedule {found.name} was changed meanwhile: look at it and ask again")
        for slot in slots:
            new = run_of_slot(tx, row, slot, rings=context.rings)
            held = stored.run_of_key(tx, row.organization_id, new.key or "")
            if held is None and insert_run(tx, new):
                rings.append(RingRun(new.organization_id, new.id, new.queue))
                told.append(BackfillView(slot=slot, run=str(new.id), new=True))
            else:
                told.append(BackfillView(slot=slot, run=None if held is None else str(held), new=False))
        stored.count_started(tx, row.id, len(rings))
    context.bell.ring(rings)
    return told


def _made_up(tx: Tx, found: StoredSchedule, slot: datetime) -> BackfillView:
    """What a backfill would do about a slot."""
    held = stored.run_of_key(tx, found.organization_id, run_of_slot(tx, found, slot).key or "")
    return BackfillView(slot=slot, run=None if held is None else str(held), new=held is None)


# ---- reading ---------------------------------------------------------------------------------------------------------


def _found(context: Context, name: str, organization_id: str | None) -> StoredSchedule:
    owner = organization(context, organization_id)
    if _is_text(name):
        with context.transaction() as tx:
            found = stored.find(tx, owner, name)
        if found is not None:
            return found
    raise _unknown(context, name, owner)


def _between(found: StoredSchedule, start: datetime | str, end: datetime | str, limit: int) -> list[datetime]:
    zone = ZoneInfo(found.terms.time_zone)
    first, last = moment_of(found.name, "start", start, zone), moment_of(found.name, "end", end, zone)
    wrong = []
    if not isinstance(limit, int) or not 1 <= limit <= MOST_SLOTS:
        wrong.append(("limit", f"it is a number from 1 to {MOST_SLOTS}"))
    if last < first:
        wrong.append(("end", "it is before the start"))
    if last > found.now:
        wrong.append(("end", "it is still to come: slots that have not come are started by themselves"))
    if wrong:
        raise InvalidSchedule(found.name, wrong)
    slots: list[datetime] = []
    for slot in _from(found.terms.timetable, first):
        if slot > last:
            break
        if len(slots) == limit:
            raise InvalidSchedule(found.name, [("limit", f"this time has more slots than {limit}: say a shorter one, or a higher limit")])
        slots.append(slot)
    return slots


def _from(timetable: Timetable, first: datetime) -> Iterator[datetime]:
    slot = timetable.after(first - timedelta(microseconds=1))
    while slot is not None:
        yield slot
        slot = timetable.after(slot)


def _is_text(name: Any) -> bool:
    return text_fault(name, LONGEST_NAME) is None


def _unknown(context: Context, name: Any, owner: str) -> NotFound:
    with context.transaction() as tx:
        names = [row.name for row in stored.listed(tx, owner)]
    return NotFound("schedule", str(name), get_close_matches(str(name)[:LONGEST_NAME], names, 2))


def _busy(name: str) -> NotAllowedNow:
    return NotAllowedNow(f"schedule {name} is being written by others without a pause: ask again")


def _view(row: StoredSchedule) -> ScheduleView:
    terms = row.terms
    return ScheduleView(
        name=row.name,
        workflow=terms.workflow,
        organization_id=row.organization_id,
        cron=terms.cron,
        every=terms.every,
        timezone=terms.time_zone,
        overlap=terms.overlap,
        catch_up=terms.catch_up,
        slot_as=terms.slot_as,
        queue=terms.queue,
        priority=terms.priority,
        tags=terms.tags,
        deadline=terms.deadline,
        paused=row.paused,
        reason=row.reason,
        next=row.next_slot,
        waiting=row.waiting,
        started=row.started,
        skipped=row.skipped,
        missed=row.missed,
        error=error_view(row.error),
        recent=[SlotView(**fate) for fate in row.recent],
        created=row.created_at,
        changed=row.changed_at,
    )
