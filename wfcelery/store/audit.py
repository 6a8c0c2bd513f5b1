"""Who did what to which run: one row for each verb that was asked for, in the transaction that asks. Never changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from wfcelery.clock import uuid7
from wfcelery.store.database import Tx
from wfcelery.store.schema import audit
from wfcelery.store.statements import Statement, clock, one


@dataclass(frozen=True, slots=True)
class Deed:
    """One verb that somebody asked for."""

    at: datetime
    actor: str | None
    verb: str
    reason: str | None


_TELL = Statement(
    sa.insert(audit).values(
        id=one("id", sa.Uuid),
        organization_id=one("organization_id", sa.Text),
        run=one("run", sa.Uuid),
        at=clock(),
        actor=one("actor", sa.Text),
        verb=one("verb", sa.Text),
        reason=one("reason", sa.Text),
    )
)
_OF_RUN = Statement(
    sa.select(audit.c.at, audit.c.actor, audit.c.verb, audit.c.reason)
    .where(audit.c.run == one("run", sa.Uuid))
    .order_by(audit.c.at, audit.c.id)
)


def tell(tx: Tx, organization_id: str, run: UUID | None, verb: str, actor: str | None, reason: str | None) -> None:
    """An insert and nothing else, as `inbox.put`. Without a run it was done to something else, which the reason names."""
    given = {"id": uuid7(), "organization_id": organization_id, "run": run, "actor": actor, "verb": verb, "reason": reason}
    tx.execute(_TELL, given)


def tell_all(tx: Tx, runs: Sequence[tuple[str, UUID]], verb: str, actor: str | None, reason: str | None) -> None:
    """The same for each of these (organization, run)."""
    same = {"actor": actor, "verb": verb, "reason": reason}
    tx.many(_TELL, [{"id": uuid7(), "organization_id": organization, "run": run, **same} for organization, run in runs])


def deeds(tx: Tx, run: UUID) -> Sequence[Deed]:
    """What was done to a run, oldest first."""
    return [Deed(*row) for row in tx.execute(_OF_RUN, {"run": run}).rows]
