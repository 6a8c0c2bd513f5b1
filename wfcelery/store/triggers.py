"""Which events start which workflow: rows of the definitions that say so. Those of the newest published definition of a name count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from wfcelery.store.database import Tx
from wfcelery.store.schema import definition, trigger
from wfcelery.store.statements import Statement, one


@dataclass(frozen=True, slots=True)
class TriggerRow:
    """One trigger of a stored definition; `spec` is its JSON."""

    workflow: str
    signature: str
    spec: str


_INSERT = Statement(
    sa.insert(trigger).values(
        signature=one("signature", sa.Text),
        number=one("number", sa.Integer),
        workflow=one("workflow", sa.Text),
        event=one("event", sa.Text),
        spec=one("spec", sa.Text),
    )
)
_newest = (
    sa.select(definition.c.signature)
    .where(definition.c.name == trigger.c.workflow, definition.c.status == "published")
    .order_by(definition.c.stored_at.desc(), definition.c.revision.desc())
    .limit(1)
    .correlate(trigger)
    .scalar_subquery()
)
_OF_EVENT = Statement(
    sa.select(trigger.c.workflow, trigger.c.signature, trigger.c.spec)
    .where(trigger.c.event == one("event", sa.Text), trigger.c.signature == _newest)
    .order_by(trigger.c.workflow, trigger.c.number)
)


def insert(tx: Tx, signature: str, workflow: str, specs: Sequence[tuple[str, str]]) -> None:
    """The triggers of a definition that is stored in this transaction: (event, spec)."""
    for number, (event, spec) in enumerate(specs):
        tx.execute(_INSERT, {"signature": signature, "number": number, "workflow": workflow, "event": event, "spec": spec})


def of_event(tx: Tx, event: str) -> list[TriggerRow]:
    """What events of this name start now."""
    return [TriggerRow(*row) for row in tx.execute(_OF_EVENT, {"event": event}).rows]
