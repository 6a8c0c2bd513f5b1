"""What people do about dead letters: list, show, retry, purge."""

from __future__ import annotations

from collections.abc import Sequence

from wfcelery.core.decision import RingRun
from wfcelery.core.rows import NO_ITEM
from wfcelery.definition.closing import hook, undo
from wfcelery.errors import NotAllowedNow, NotFound
from wfcelery.service.asked import check_text
from wfcelery.service.asking import told
from wfcelery.service.context import Context
from wfcelery.service.views import DeadLetterView, error_view
from wfcelery.store import dead_letters, inbox, quarantine
from wfcelery.store.children import has_told
from wfcelery.store.database import Tx
from wfcelery.store.dead_letters import Letter

BATCH = 200


def listed(context: Context, *, status: str = "open", workflow: str | None = None, limit: int = 50) -> Sequence[DeadLetterView]:
    """The newest dead letters; `status` open, handled, retried or all."""
    with context.transaction() as tx:
        found = dead_letters.listed(tx, status=None if status == "all" else status, workflow=workflow, limit=limit)
    return [_view(letter) for letter in found]


def shown(context: Context, id: str) -> DeadLetterView:  # noqa: A002
    """One dead letter, by its id or a unique tail of it. Raises NotFound."""
    return _view(_found(context, id))


def retry(context: Context, ids: Sequence[str] | None, *, workflow: str | None = None, by: str | None = None) -> int:
    """Ask for another episode of these steps, or of all open ones; returns how many were asked for.

    Each is a fact in its run's inbox: the run decides under its own lock, and reopens what its failure closed.
    Raises NotFound, and NotAllowedNow for one that is not open, or whose run is paused, is being undone or was, before anything is
    written. Of all open ones those that cannot be tried again now say so in their runs' histories.
    """
    if by is not None:
        check_text("retry", "by", by)
    if ids is None:
        with context.transaction() as tx:
            letters = dead_letters.listed(tx, status="open", workflow=workflow, limit=100_000)
    else:
        letters = [_found(context, one) for one in ids]
        closed = [letter for letter in letters if letter.status != "open"]
        if closed:
            raise NotAllowedNow(f"dead letter {closed[0].id} is {closed[0].status}; only an open one can be retried", closed[0].status)
        with context.transaction() as tx:
            for letter in letters:
                if has_told(tx, letter.run):
                    raise told(letter.run, "over")
                _check_standing(tx, letter)
    return retry_found(context, letters, by)


def _check_standing(tx: Tx, letter: Letter) -> None:
    """Raises NotAllowedNow where the run would refuse; the run itself looks again, under its lock."""
    status, undone = dead_letters.standing(tx, letter.run) or ("", False)
    if status == "paused":
        raise NotAllowedNow(f"run {letter.run} is paused; resume it first", status)
    if status == "compensating":
        raise NotAllowedNow(f"run {letter.run} is undoing what it has done, or calls its hooks; wait until it has ended", status)
    if undone and not letter.name.endswith((undo(""), hook(""))):
        raise NotAllowedNow(f"run {letter.run} is {status}, and what it had done was undone; start another, or `runs rerun`", status)


def retry_found(context: Context, letters: Sequence[Letter], by: str | None) -> int:
    """Ask for another episode of each of these, in small transactions; how many they are."""
    if by is not None:
        check_text("retry", "by", by)
    for start in range(0, len(letters), BATCH):
        batch = letters[start : start + BATCH]
        with context.transaction() as tx:
            for letter in batch:
                if letter.step is None:
                    quarantine.take_back(tx, letter.run, letter.id)
                    continue
                inbox.put(tx, letter.organization_id, letter.run, "retry", {"step": str(letter.step), "by": by})
        context.bell.ring([RingRun(letter.organization_id, letter.run) for letter in batch])
    return len(letters)


def purge(context: Context, ids: Sequence[str] | None) -> int:
    """Delete these dead letters, or all that are not retried; returns how many are gone. Raises NotFound."""
    letters = None if ids is None else [_found(context, one).id for one in ids]
    with context.transaction() as tx:
        return dead_letters.purge(tx, letters)


def _found(context: Context, id: str) -> Letter:  # noqa: A002
    with context.transaction() as tx:
        found = dead_letters.find(tx, id, limit=2)
    if len(found) != 1:
        raise NotFound("dead letter", id, [str(letter.id) for letter in found])
    return found[0]


def _view(letter: Letter) -> DeadLetterView:
    return DeadLetterView(
        id=str(letter.id),
        run=str(letter.run),
        workflow=letter.workflow,
        step=letter.name,
        item=None if letter.item == NO_ITEM else letter.item,
        reason=letter.reason,
        status=letter.status,
        attempts=letter.attempts,
        episode=letter.episode,
        created=letter.created_at,
        ended=letter.ended_at,
        error=error_view(letter.error),
    )
