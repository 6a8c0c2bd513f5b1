"""One verb for many runs, or dead letters: first what it would come to, then, in small transactions, what was asked.

Whoever has moved on meanwhile, or was asked already, is left out, so that the same command can be said again after it was
broken off; each run decides under its own lock, as if it had been asked alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

from wfcelery.core.decision import RingRun
from wfcelery.errors import InvalidInput
from wfcelery.service import dead_letters, queries
from wfcelery.service.asked import check_text
from wfcelery.service.asking import able
from wfcelery.service.context import Context, current
from wfcelery.service.views import View
from wfcelery.store import audit, inbox, matching
from wfcelery.store.reading import RunRecord

BATCH = 200  # runs that one transaction asks
SAMPLE = 5
MOST_LETTERS = 100_000
Verb = Literal["cancel", "terminate", "pause", "resume", "retry"]
VERBS: tuple[Verb, ...] = ("cancel", "terminate", "pause", "resume", "retry")


class TallyView(View):
    """How many of one workflow and status match."""

    workflow: str
    status: str
    count: int


class Bulk(View):
    """What a verb for many came to, or would. `asked` is None of a dry run."""

    verb: str
    where: str
    matching: int
    able: int  # of these, those that stand where they can be asked
    per: Sequence[TallyView]
    sample: Sequence[str]  # ids of some of those
    asked: int | None = None

    @property
    def moved_on(self) -> int:
        """Those that could be asked when they were counted, and could not, or had been, when it was their turn."""
        return 0 if self.asked is None else max(self.able - self.asked, 0)


def bulk(verb: Verb, where: str, *, reason: str | None = None, by: str | None = None, yes: bool = False) -> Bulk:
    """Ask all runs that match a query for one of their actions; without `yes` only say what that would come to.

    `where` is as in `wfcelery runs list --where`: `status=failed workflow=order created>2h`. Raises `InvalidInput` with
    everything that is wrong with it.
    """
    return of_runs(current(), verb, where, reason=reason, by=by, yes=yes)


async def abulk(verb: Verb, where: str, *, reason: str | None = None, by: str | None = None, yes: bool = False) -> Bulk:
    """`bulk` from a coroutine."""
    return await asyncio.to_thread(bulk, verb, where, reason=reason, by=by, yes=yes)


def of_runs(
    context: Context,
    verb: Verb,
    where: str,
    *,
    reason: str | None = None,
    by: str | None = None,
    yes: bool = False,
    more: Mapping[str, Any] | None = None,
) -> Bulk:
    """As `bulk`; `more` is what else the fact says."""
    if verb not in VERBS:
        raise InvalidInput("bulk", [("verb", f"it is one of {', '.join(VERBS)}")])
    for name, given in (("reason", reason), ("by", by)):
        if given is not None:
            check_text(verb, name, given)
    terms, standing = queries.of_runs(where), able(verb)
    with context.transaction() as tx:
        tallies = matching.run_tallies(tx, terms)
        sample = matching.runs_to_ask(tx, terms, verb, standing, UUID(int=0), SAMPLE)
    asked = _ask(context, verb, terms, standing, {"reason": reason, "by": by, **(more or {})}) if yes else None
    return _told(verb, where, tallies, standing, [str(run.id) for run in sample], asked)


def _ask(context: Context, verb: Verb, terms: Sequence[matching.Term], standing: Sequence[str], said: Mapping[str, Any]) -> int:
    after, asked = UUID(int=0), 0
    data = {**said, "reason": said["reason"] or (None if verb in ("resume", "retry") else f"operator {verb}")}
    while True:
        with context.transaction() as tx:
            batch: list[RunRecord] = matching.runs_to_ask(tx, terms, verb, standing, after, BATCH)
            inbox.put_all(tx, [(run.organization_id, run.id) for run in batch], verb, data)
            audit.tell_all(tx, [(run.organization_id, run.id) for run in batch], verb, data["by"], data["reason"])
        if not batch:
            return asked
        context.bell.ring([RingRun(run.organization_id, run.id, run.queue) for run in batch])
        after, asked = batch[-1].id, asked + len(batch)


def of_letters(context: Context, where: str, *, by: str | None = None, yes: bool = False) -> Bulk:
    """Retry all open dead letters that match a query; without `yes` only say what that would come to."""
    terms = queries.of_letters(where)
    with context.transaction() as tx:
        tallies = matching.letter_tallies(tx, terms)
        still_open = matching.Term("status", "=", ("open",))
        found = matching.letters(tx, [*terms, still_open], MOST_LETTERS if yes else SAMPLE)
    asked = dead_letters.retry_found(context, found, by) if yes else None
    return _told("retry", where, tallies, ("open",), [str(letter.id) for letter in found[:SAMPLE]], asked)


def _told(
    verb: str, where: str, tallies: Sequence[matching.Tally], standing: Sequence[str], sample: Sequence[str], asked: int | None
) -> Bulk:
    return Bulk(
        verb=verb,
        where=where,
        matching=sum(tally.count for tally in tallies),
        able=sum(tally.count for tally in tallies if tally.status in standing),
        per=[TallyView(workflow=tally.workflow, status=tally.status, count=tally.count) for tally in tallies],
        sample=sample,
        asked=asked,
    )
