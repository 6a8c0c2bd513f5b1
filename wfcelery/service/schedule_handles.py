"""A schedule as callers hold it: a name, and what can be asked of it from any process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from typing_extensions import Unpack

from wfcelery.authoring.decorators import Bound
from wfcelery.service import schedules
from wfcelery.service.context import current
from wfcelery.service.handles import Run
from wfcelery.service.terms import ScheduleOptions
from wfcelery.service.views import BackfillView, ScheduleView


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule, by its name alone: it can be pickled, kept, and asked from any process."""

    name: str
    organization_id: str

    def show(self) -> ScheduleView:
        """Its terms, its next slot, and what became of the latest ones. Raises `NotFound`."""
        return schedules.shown(current(), self.name, self.organization_id)

    def next(self, count: int = 5) -> Sequence[datetime]:
        """The next slots, in UTC, as if it were not paused. Raises `NotFound`."""
        return [each.slot for each in schedules.upcoming(current(), self.name, count, self.organization_id)]

    def pause(self, reason: str | None = None) -> None:
        """No slot is due until `resume`; what has been started goes on. Raises `NotFound`."""
        schedules.pause(current(), self.name, reason, self.organization_id)

    def resume(self) -> None:
        """It goes on with the first slot from now; the slots of the pause are not made up for. Raises `NotFound`."""
        schedules.resume(current(), self.name, self.organization_id)

    def delete(self) -> None:
        """Forget it; what it has started goes on. Raises `NotFound`."""
        schedules.delete(current(), self.name, self.organization_id)

    def run(self, *, key: str | None = None) -> Run:
        """Start a run by its terms at once, whatever else is going, and paused or not. With a `key`, once. Raises `NotFound`."""
        return Run(str(schedules.run_now(current(), self.name, key, self.organization_id)), key=key)

    def backfill(self, start: datetime | str, end: datetime | str, *, limit: int = 100, dry_run: bool = False) -> Sequence[BackfillView]:
        """Start the runs of all slots from `start` to `end`, both included, that have none, all at once; says which.

        A moment without a zone is one of the schedule's time zone. May be repeated. Raises `InvalidSchedule` where the
        time is not over or has more than `limit` slots, before anything is started, and `NotFound`.
        """
        return schedules.backfill(current(), self.name, start, end, limit=limit, dry_run=dry_run, organization_id=self.organization_id)

    async def ashow(self) -> ScheduleView:
        """`show` from a coroutine."""
        return await asyncio.to_thread(self.show)

    async def anext(self, count: int = 5) -> Sequence[datetime]:
        """`next` from a coroutine."""
        return await asyncio.to_thread(self.next, count)

    async def apause(self, reason: str | None = None) -> None:
        """`pause` from a coroutine."""
        await asyncio.to_thread(self.pause, reason)

    async def aresume(self) -> None:
        """`resume` from a coroutine."""
        await asyncio.to_thread(self.resume)

    async def adelete(self) -> None:
        """`delete` from a coroutine."""
        await asyncio.to_thread(self.delete)

    async def arun(self, *, key: str | None = None) -> Run:
        """`run` from a coroutine."""
        return await asyncio.to_thread(self.run, key=key)

    async def abackfill(
        self, start: datetime | str, end: datetime | str, *, limit: int = 100, dry_run: bool = False
    ) -> Sequence[BackfillView]:
        """`backfill` from a coroutine."""
        return await asyncio.to_thread(self.backfill, start, end, limit=limit, dry_run=dry_run)


def schedule(
    name: str,
    what: Bound[Any] | str,
    input: Mapping[str, Any] | None = None,  # noqa: A002
    /,
    **options: Unpack[ScheduleOptions],
) -> Schedule:
    """Start a workflow again and again: make the schedule of this name, or give it new terms. The same terms change nothing.

    `cron` (five fields, or six with a second before them) in the IANA zone `timezone` (UTC), or `every` (a span, counted from 1970 in
    UTC). A slot's run has the key `schedule:<name>:<slot in UTC>`: a slot is started once. `overlap` says what happens
    while an earlier run is going: "skip" (the default), "buffer" one, "allow", or "cancel" what is going. A slot is
    started up to `catch_up` late ("1d"), then it is missed. `slot_as` names the parameter that is given the slot's
    time, a datetime in UTC; `queue`, `priority`, `tags`, `deadline` (a span) are its runs'. Each run goes by the newest definition first
    stored. It is a transaction of its own. Raises `InvalidSchedule` with everything wrong, before anything is written.
    """
    context = current()
    made = schedules.put(context, name, what, input, options)
    return Schedule(made.name, made.organization_id)


def get_schedule(name: str, organization_id: str | None = None) -> Schedule:
    """The schedule of a name. Raises `NotFound`."""
    found = schedules.shown(current(), name, organization_id)
    return Schedule(found.name, found.organization_id)


def list_schedules(organization_id: str | None = None) -> Sequence[Schedule]:
    """Every schedule of an organization, by name."""
    return [Schedule(found.name, found.organization_id) for found in schedules.listed(current(), organization_id)]


async def aschedule(
    name: str,
    what: Bound[Any] | str,
    input: Mapping[str, Any] | None = None,  # noqa: A002
    /,
    **options: Unpack[ScheduleOptions],
) -> Schedule:
    """`schedule` from a coroutine."""
    return await asyncio.to_thread(lambda: schedule(name, what, input, **options))


async def aget_schedule(name: str, organization_id: str | None = None) -> Schedule:
    """`get_schedule` from a coroutine."""
    return await asyncio.to_thread(get_schedule, name, organization_id)


async def alist_schedules(organization_id: str | None = None) -> Sequence[Schedule]:
    """`list_schedules` from a coroutine."""
    return await asyncio.to_thread(list_schedules, organization_id)
