"""The runs that an event starts: inserted where the event is sent, so that they exist if and only if it does.

A trigger whose filter, input or key fails on an event starts nothing and harms nobody: the event says why, and goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from uuid import UUID

from wfcelery.clock import uuid7
from wfcelery.core.decision import Ring, RingRun
from wfcelery.definition.model import Definition
from wfcelery.definition.triggers import compiled
from wfcelery.definition.values import as_text, decode, dumps, loads
from wfcelery.errors import InvalidInput, NotAllowedNow, NotFound, ValueProblem
from wfcelery.service import definitions
from wfcelery.service.asked import text_fault
from wfcelery.service.context import Context
from wfcelery.store import triggers
from wfcelery.store.database import Tx
from wfcelery.store.definitions import load_body
from wfcelery.store.events import NewEvent
from wfcelery.store.starting import NewRun, find_by_key, insert_run

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Triggered:
    """What an event has started, and why some triggers have not."""

    runs: list[UUID] = field(default_factory=list)
    rings: list[Ring] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def start_runs(context: Context, tx: Tx, event: NewEvent) -> Triggered:
    """Ask each trigger of the event's name, and start what it wants."""
    found = Triggered()
    rows = triggers.of_event(tx, event.name)
    if not rows:
        return found
    seen = {
        "id": str(event.id), "name": event.name, "key": event.key or None, "data": loads(event.data), "actor": event.actor,
        "role": event.role,
    }  # fmt: skip
    for row in rows:
        try:
            _start(context, tx, event, row, seen, found)
        except (ValueProblem, InvalidInput, NotFound, NotAllowedNow) as problem:
            log.warning("event %s does not start workflow %s: %s", event.id, row.workflow, problem)
            found.faults.append(f"trigger of {row.workflow}: {problem}"[:300])
    return found


def _start(context: Context, tx: Tx, event: NewEvent, row: triggers.TriggerRow, seen: dict[str, Any], found: Triggered) -> None:
    answer = compiled(row.spec).answer(seen)
    if answer is None:
        return
    given, key = answer
    signature, name, stored = definitions.by_name(context, row.workflow, {each: decode(value) for each, value in given.items()}, tx)
    text = dumps(stored)
    if len(text) > context.settings.input_limit:
        raise InvalidInput(name, [("input", f"it has {len(text)} bytes, more than {context.settings.input_limit}")])
    fault = None if key is None else text_fault(as_text(key))
    if fault is not None:
        raise InvalidInput(name, [("key", fault)])
    new = _run(context, tx, event, signature, name, text, None if key is None else as_text(key))
    if insert_run(tx, new):
        found.runs.append(new.id)
        found.rings.append(RingRun(new.organization_id, new.id, new.queue))
        return
    held = find_by_key(tx, new.organization_id, name, new.key or "")
    if held is not None and held.input_digest != new.input_digest:
        found.faults.append(f"trigger of {name}: its key is that of a run with another input")


def _run(context: Context, tx: Tx, event: NewEvent, signature: str, name: str, text: str, key: str | None) -> NewRun:
    body = load_body(tx, signature)
    definition = None if body is None else Definition.model_validate_json(body)
    return NewRun(
        id=uuid7(),
        organization_id=event.organization_id,
        workflow=name,
        definition=signature,
        input=text,
        input_digest=sha256(text.encode()).hexdigest(),
        key=key,
        tags=_tags(definition),
        deadline_in=None if definition is None else definition.timeout,
        rings=context.rings,
    )


def _tags(definition: Definition | None) -> Sequence[str]:
    return () if definition is None else list(definition.tags)
