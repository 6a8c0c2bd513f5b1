"""What a database says of itself: the short random id by which its messages are known."""

from __future__ import annotations

import sqlalchemy as sa

from wfcelery.store.database import Tx
from wfcelery.store.schema import meta
from wfcelery.store.statements import Statement

_NS = Statement(sa.select(meta.c.ns))


def namespace(tx: Tx) -> str | None:
    """The id that the first migration wrote; a message with another one is of another database."""
    rows = tx.execute(_NS).rows
    return str(rows[0][0]) if rows else None
