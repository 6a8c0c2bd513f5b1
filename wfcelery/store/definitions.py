"""Definitions as they were stored: never changed, found by signature, by label, or by name the newest first stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from wfcelery.errors import NotAllowedNow
from wfcelery.store.database import Tx
from wfcelery.store.schema import definition, run
from wfcelery.store.statements import Ids, Row, Statement, Words, among, clock, one


@dataclass(frozen=True, slots=True)
class StoredDefinition:
    """One row. `revision` counts the bodies that were stored under one label."""

    signature: str
    name: str
    version: str
    revision: int
    status: str
    body: str
    stored_at: datetime


@dataclass(frozen=True, slots=True)
class Kept:
    """What storing came to: whether the row is new, which revision of its label it is, and how it stands."""

    new: bool
    revision: int
    status: str = "published"


_ALL = (
    definition.c.signature,
    definition.c.name,
    definition.c.version,
    definition.c.revision,
    definition.c.status,
    definition.c.body,
    definition.c.stored_at,
)
_NEWEST_FIRST = (definition.c.stored_at.desc(), definition.c.revision.desc())
_NAME, _VERSION = one("name", sa.Text), one("version", sa.Text)
_LABEL = sa.and_(definition.c.name == _NAME, definition.c.version == _VERSION)

_REVISION = Statement(sa.select(definition.c.revision, definition.c.status).where(definition.c.signature == one("signature", sa.Text)))
_BODY = Statement(sa.select(definition.c.body).where(definition.c.signature == one("signature", sa.Text)))
_OF_RUNS = Statement(sa.select(run.c.id, run.c.definition).where(among(run.c.id, one("runs", Ids))))
_NEWEST = Statement(
    sa.select(*_ALL).where(definition.c.name == _NAME, definition.c.status == "published").order_by(*_NEWEST_FIRST).limit(1)
)
_NEWEST_SIGNATURE = Statement(
    sa.select(definition.c.signature)
    .where(definition.c.name == _NAME, definition.c.status == "published")
    .order_by(*_NEWEST_FIRST)
    .limit(1)
)
_OF_LABEL = Statement(sa.select(*_ALL).where(_LABEL).order_by(definition.c.revision.desc()).limit(1))
_BY_SIGNATURE = Statement(
    sa.select(*_ALL).where(definition.c.signature.startswith(one("beginning", sa.Text), autoescape=False)).order_by(*_NEWEST_FIRST).limit(2)
)
_PUBLISHED_OF_LABEL = Statement(
    sa.select(*_ALL).where(_LABEL, definition.c.status == "published").order_by(definition.c.revision.desc()).limit(1)
)
_OF_NAME = Statement(sa.select(*_ALL).where(definition.c.name == _NAME).order_by(*_NEWEST_FIRST))
_STAND = Statement(
    sa.update(definition)
    .where(among(definition.c.signature, one("signatures", Words)), definition.c.status == one("seen", sa.Text))
    .values(
        status=one("status", sa.Text),
        stored_at=sa.case((one("anew", sa.Boolean), clock()), else_=definition.c.stored_at),
    )
)
_NAMES = Statement(sa.select(definition.c.name).distinct().order_by(definition.c.name))
_LISTED = Statement(sa.select(*_ALL).order_by(*_NEWEST_FIRST))
# Two that store one label at once get two revisions: the second waits until the first has committed.
_TURN = Statement(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext("wf_definition " + _NAME))))


def _insert(dialect: str) -> Any:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    next_one = sa.select(sa.func.coalesce(sa.func.max(definition.c.revision), 0) + 1).where(_LABEL).scalar_subquery()
    return (
        insert(definition)
        .values(
            signature=one("signature", sa.Text),
            name=_NAME,
            version=_VERSION,
            revision=next_one,
            status=one("status", sa.Text),
            body=one("body", sa.Text),
            stored_at=clock(),
        )
        .on_conflict_do_nothing(index_elements=["signature"])
    )


_INSERT = Statement(_insert)


def store(
    tx: Tx, signature: str, name: str, version: str, body: str, *, strict: bool = False, status: Literal["published", "draft"] = "published"
) -> Kept:
    """Make sure that a definition is stored; a changed body under a used label is its next revision.

    `strict`: such a body is refused with NotAllowedNow. One that is stored already stands as it stands.
    """
    known = tx.execute(_REVISION, {"signature": signature}).rows
    if known:
        return Kept(False, *known[0])
    if tx.dialect == "postgresql":
        tx.execute(_TURN, {"name": name})
    if strict and of_label(tx, name, version) is not None:
        raise NotAllowedNow(f"version {version} of {name} is stored with another body; give it a new version")
    given = {"signature": signature, "name": name, "version": version, "body": body, "status": status}
    new = tx.execute(_INSERT, given).count == 1
    return Kept(new, *tx.execute(_REVISION, {"signature": signature}).rows[0])


def newest_signature(tx: Tx, name: str) -> str | None:
    """The signature of `newest`, without its body."""
    rows = tx.execute(_NEWEST_SIGNATURE, {"name": name}).rows
    return rows[0][0] if rows else None


def load_body(tx: Tx, signature: str) -> str | None:
    """The canonical JSON of a definition."""
    rows = tx.execute(_BODY, {"signature": signature}).rows
    return rows[0][0] if rows else None


def of_runs(tx: Tx, runs: Iterable[UUID]) -> dict[UUID, str]:
    """The signatures that these runs go by."""
    ids = list(runs)
    return {row[0]: row[1] for row in tx.execute(_OF_RUNS, {"runs": ids}).rows} if ids else {}


def newest(tx: Tx, name: str) -> StoredDefinition | None:
    """The published definition of this name that was first stored last: an old process cannot turn it back."""
    return _first(tx.execute(_NEWEST, {"name": name}).rows)


def of_label(tx: Tx, name: str, version: str) -> StoredDefinition | None:
    """The latest revision of a label."""
    return _first(tx.execute(_OF_LABEL, {"name": name, "version": version}).rows)


def published_of_label(tx: Tx, name: str, version: str) -> StoredDefinition | None:
    """The latest published revision of a label."""
    return _first(tx.execute(_PUBLISHED_OF_LABEL, {"name": name, "version": version}).rows)


def of_name(tx: Tx, name: str) -> list[StoredDefinition]:
    """Every version and revision of a name, newest first, however it stands."""
    return [StoredDefinition(*row) for row in tx.execute(_OF_NAME, {"name": name}).rows]


def stand(tx: Tx, signatures: Sequence[str], seen: str, status: str) -> int:
    """Let what stands as `seen` stand as `status` instead; how many did. What was a draft is first stored when it is published."""
    given = {"signatures": list(signatures), "seen": seen, "status": status, "anew": seen == "draft"}
    return tx.execute(_STAND, given).count


def by_signature(tx: Tx, beginning: str) -> StoredDefinition | None:
    """The one definition whose signature begins so; None where none does, or several."""
    if len(beginning) < 4 or not all(letter in "0123456789abcdef" for letter in beginning):
        return None
    rows = tx.execute(_BY_SIGNATURE, {"beginning": beginning}).rows
    return _first(rows) if len(rows) == 1 else None


def names(tx: Tx) -> list[str]:
    """Every name that has a definition."""
    return [row[0] for row in tx.execute(_NAMES).rows]


def listed(tx: Tx) -> list[StoredDefinition]:
    """Every stored definition, newest first."""
    return [StoredDefinition(*row) for row in tx.execute(_LISTED).rows]


def _first(rows: list[Row]) -> StoredDefinition | None:
    return StoredDefinition(*rows[0]) if rows else None
