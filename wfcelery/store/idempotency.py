"""The registry behind `once`: under one key the first caller runs, and its result is kept until it expires."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from wfcelery.store.database import Tx
from wfcelery.store.schema import Value, idempotency, step, worker
from wfcelery.store.statements import Statement, clock, fixed, later, one


@dataclass(frozen=True, slots=True)
class Entry:
    """`mine`: the caller shall run. Else `result` is what was kept (JSON text), or None while another runs."""

    mine: bool
    result: str | None = None


_HERE = sa.and_(
    idempotency.c.organization_id == one("organization_id", sa.Text),
    idempotency.c.scope == one("scope", sa.Text),
    idempotency.c.key == one("key", sa.Text),
)
_HELD = sa.and_(_HERE, idempotency.c.token == one("holder", sa.Uuid))


def _begin(dialect: str) -> Any:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    mine = {
        "token": one("token", sa.Uuid),
        "attempt": one("attempt", sa.Boolean),
        "result": sa.null(),
        "created_at": clock(),
        "expires_at": later(one("expires", sa.Float)),
    }
    return (
        insert(idempotency)
        .values(organization_id=one("organization_id", sa.Text), scope=one("scope", sa.Text), key=one("key", sa.Text), **mine)
        .on_conflict_do_update(index_elements=["organization_id", "scope", "key"], set_=mine, where=idempotency.c.expires_at <= clock())
    )


_BEGIN = Statement(_begin)
_LOOK = Statement(sa.select(idempotency.c.token, idempotency.c.attempt, idempotency.c.result).where(_HERE))
# By the workers' ids, because running steps are found by who claimed them; the token has no index of its own.
_ALIVE = Statement(
    sa.select(step.c.id).where(
        step.c.status == "running", step.c.claimed_by.in_(sa.select(worker.c.id)), step.c.token == one("holder", sa.Uuid)
    )
)
_TAKE_OVER = Statement(
    sa.update(idempotency)
    .where(_HELD)
    .values(token=one("token", sa.Uuid), attempt=one("attempt", sa.Boolean), expires_at=later(one("expires", sa.Float)))
)
_KEEP = Statement(sa.update(idempotency).where(_HELD).values(token=sa.null(), result=one("result", Value("result"))))
_FORGET = Statement(sa.delete(idempotency).where(_HELD))
_PURGE = Statement(sa.delete(idempotency).where(idempotency.c.expires_at <= fixed(later(-one("kept_for", sa.Float)))))


def begin(tx: Tx, organization_id: str, scope: str, key: str, token: UUID, expires: float, *, attempt: bool = False) -> Entry:
    """Take the key, or say who was first. `expires` is in seconds.

    `attempt`: the token is that of a running step's attempt. Where such an attempt holds the key and no step
    runs under its token any more, the caller takes it over; any other holder keeps it until it expires.
    """
    place = {"organization_id": organization_id, "scope": scope, "key": key}
    mine = place | {"token": token, "attempt": attempt, "expires": expires}
    if tx.execute(_BEGIN, mine).count == 1:
        return Entry(True)
    found = tx.execute(_LOOK, place).rows
    if not found:  # forgotten between the two statements
        return begin(tx, organization_id, scope, key, token, expires, attempt=attempt)
    holder, of_attempt, result = found[0]
    if holder is None:
        return Entry(False, result)
    if not of_attempt or tx.execute(_ALIVE, {"holder": holder}).rows:
        return Entry(False)
    return Entry(tx.execute(_TAKE_OVER, mine | {"holder": holder}).count == 1)


def keep(tx: Tx, organization_id: str, scope: str, key: str, token: UUID, result: str) -> bool:
    """Keep the result (JSON text) for those who come later; False where another has taken the key over."""
    given = {"organization_id": organization_id, "scope": scope, "key": key, "holder": token, "result": result}
    return tx.execute(_KEEP, given).count == 1


def forget(tx: Tx, organization_id: str, scope: str, key: str, token: UUID) -> None:
    """The function raised: the next caller runs it."""
    tx.execute(_FORGET, {"organization_id": organization_id, "scope": scope, "key": key, "holder": token})


def purge(tx: Tx, kept_for: float) -> int:
    """Delete what expired more than so many seconds ago; how many rows."""
    return tx.execute(_PURGE, {"kept_for": kept_for}).count
