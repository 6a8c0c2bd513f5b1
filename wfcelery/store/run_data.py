"""What is kept beside a run under names of the author's: rows of their own, which nobody needs the run's lock for."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from wfcelery.store.database import Tx
from wfcelery.store.schema import Value, run_data
from wfcelery.store.statements import Statement, clock, fixed, later, one

_PLACE = run_data.c.run == one("of", sa.Uuid)
_HERE = sa.and_(_PLACE, run_data.c.key == one("key", sa.Text))
_ALIVE = sa.or_(run_data.c.expires_at.is_(None), run_data.c.expires_at > fixed(clock()))
_expires = sa.case((one("expires", sa.Float).is_not(None), later(one("expires", sa.Float))), else_=sa.null())


def _put(dialect: str, *, only_new: bool) -> Any:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    changed = {"value": one("value", Value("data")), "expires_at": _expires, "at": clock()}
    values = {"run": one("of", sa.Uuid), "key": one("key", sa.Text), "organization_id": one("organization_id", sa.Text), "revision": 1}
    return (
        insert(run_data)
        .values(**values, **changed)
        .on_conflict_do_update(
            index_elements=["run", "key"],
            set_={**changed, "revision": run_data.c.revision + 1},
            where=run_data.c.expires_at <= clock() if only_new else None,
        )
    )


_PUT = Statement(lambda dialect: _put(dialect, only_new=False))
_ADD = Statement(lambda dialect: _put(dialect, only_new=True))
_SWAP = Statement(
    sa.update(run_data)
    .where(_HERE, run_data.c.revision == one("seen", sa.Integer), _ALIVE)
    .values(value=one("value", Value("data")), expires_at=_expires, at=clock(), revision=run_data.c.revision + 1)
)
_GET = Statement(sa.select(run_data.c.value, run_data.c.revision, run_data.c.organization_id).where(_HERE, _ALIVE))
_KEYS = Statement(sa.select(run_data.c.key).where(_PLACE, _ALIVE).order_by(run_data.c.key))
_DELETE = Statement(sa.delete(run_data).where(_HERE))
_PURGE = Statement(sa.delete(run_data).where(run_data.c.expires_at <= fixed(clock())))


def put(tx: Tx, organization_id: str, run: UUID, key: str, value: str, expires: float | None) -> None:
    """Keep a value (JSON text), in place of the one that was there; for so many seconds, or as long as the run."""
    tx.execute(_PUT, _given(organization_id, run, key, value, expires))


def add(tx: Tx, organization_id: str, run: UUID, key: str, value: str, expires: float | None) -> bool:
    """Keep a value where there is none; False where there is one that has not expired."""
    return tx.execute(_ADD, _given(organization_id, run, key, value, expires)).count == 1


def get(tx: Tx, run: UUID, key: str) -> tuple[str, int] | None:
    """The value and its revision; None where there is none, or one that has expired."""
    rows = tx.execute(_GET, {"of": run, "key": key}).rows
    return (rows[0][0], rows[0][1]) if rows else None


def swap(tx: Tx, organization_id: str, run: UUID, key: str, seen: int, value: str, expires: float | None) -> bool:
    """Keep a value in place of the one with this revision; False where that is no longer there."""
    return tx.execute(_SWAP, {**_given(organization_id, run, key, value, expires), "seen": seen}).count == 1


def keys(tx: Tx, run: UUID) -> list[str]:
    """The names under which something is kept, in their order."""
    return [row[0] for row in tx.execute(_KEYS, {"of": run}).rows]


def delete(tx: Tx, run: UUID, key: str) -> bool:
    """Keep it no longer; False where nothing was kept."""
    return tx.execute(_DELETE, {"of": run, "key": key}).count == 1


def purge(tx: Tx) -> int:
    """Delete what has expired; how many rows."""
    return tx.execute(_PURGE).count


def _given(organization_id: str, run: UUID, key: str, value: str, expires: float | None) -> dict[str, Any]:
    # Not under the name `run`: what is written again and again stays in its row, however large, and leaves no payload behind.
    return {"organization_id": organization_id, "of": run, "key": key, "value": value, "expires": expires}
