"""What a message is compared with: the short random id of the database, and whose step it names."""

from __future__ import annotations

from uuid import UUID

import sqlalchemy as sa

from wfcelery.store.database import Tx
from wfcelery.store.schema import meta, step
from wfcelery.store.statements import Statement, one

_NS = Statement(sa.select(meta.c.ns))
_OWNER = Statement(sa.select(step.c.organization_id).where(step.c.id == one("step", sa.Uuid)))


def namespace(tx: Tx) -> str | None:
    """The id that the first migration wrote; a message with another one is of another database."""
    rows = tx.execute(_NS).rows
    return str(rows[0][0]) if rows else None


def owner_of_step(tx: Tx, id: UUID) -> str | None:  # noqa: A002
    """The organization of a step; None where there is no such step."""
    rows = tx.execute(_OWNER, {"step": id}).rows
    return str(rows[0][0]) if rows else None
