"""A run once more, as another run: from its beginning, or from one of its steps; its input edited, if somebody asks for that.

The old run stays as it is. The new one says in its tags whose it is (`replay_of:…`, `rerun_of:…`), and both in their audit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from uuid import UUID

from wfcelery.clock import uuid7
from wfcelery.core.decision import RingRun
from wfcelery.core.rows import RunRow
from wfcelery.core.states import RUN_ENDED
from wfcelery.core.taking_over import to_take
from wfcelery.definition.compile import compile_plan
from wfcelery.definition.model import Definition
from wfcelery.definition.patching import patched, setting
from wfcelery.definition.values import decode, dumps
from wfcelery.errors import InvalidInput, KeyConflict, NotAllowedNow, NotFound
from wfcelery.service import definitions
from wfcelery.service.asked import check_text
from wfcelery.service.context import Context
from wfcelery.store import audit, inbox, reading
from wfcelery.store.database import Tx
from wfcelery.store.definitions import load_body
from wfcelery.store.loading import load_run
from wfcelery.store.starting import NewRun, insert_run

Edit = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Again:
    """How a run is to be run once more: what is edited, under which key, and who asks."""

    edit: Edit = ()
    set: Mapping[str, Any] | None = None
    key: str | None = None
    by: str | None = None
    reason: str | None = None

    def input_of(self, run: RunRow) -> dict[str, Any]:
        """The old run's input with the edit, in stored form. Raises InvalidInput."""
        for name, given in (("key", self.key), ("by", self.by), ("reason", self.reason)):
            if given is not None:
                check_text("replay", name, given)
        operations = [*self.edit, *(setting(path, value) for path, value in (self.set or {}).items())]
        found = patched(dict(run.input), operations) if isinstance(self.edit, list | tuple) else patched({}, self.edit)
        if not isinstance(found, dict):
            raise InvalidInput("edit", [("edit", "what it leaves is no input: an object with the workflow's parameters as names")])
        return found


def replay(context: Context, run: UUID, again: Again, *, same_version: bool = False) -> UUID:
    """A new run of the newest definition of the workflow, or of the old run's own, with its input. The new run's id.

    Raises `NotFound`, `InvalidInput` with all that is wrong with the edited input, `NotAllowedNow`, `KeyConflict`.
    """
    with context.transaction() as tx:
        old = _found(tx, run)
        body = load_body(tx, old.definition)
    given = again.input_of(old)
    if same_version:
        definition = _definition(old, body)
        signature = definitions.launched(context, definition, None)
        stored = definitions.input_of(definition, signature, _decoded(given))
    else:
        signature, _, stored = definitions.by_name(context, old.workflow, _decoded(given), None)
    return _start(context, old, signature, stored, "replay", again, None)


def rerun(context: Context, run: UUID, step: str, again: Again) -> UUID:
    """A new run of the old one's own definition that takes over what stands before `step`, and runs anew from there on.

    Raises as `replay`, `NotFound` where the definition knows no such step, and `NotAllowedNow` while the old run goes on.
    """
    check_text("rerun", "from", step)
    with context.transaction() as tx:
        old = _found(tx, run)
        body = load_body(tx, old.definition)
        steps = reading.steps(tx, run)
    definition = _definition(old, body)
    names = [task.name for task, _ in definition.every_task()]
    if step not in names:
        raise NotFound("step", step, get_close_matches(step, names, 1))
    if old.status not in RUN_ENDED:
        raise NotAllowedNow(f"rerun: run {run} is {old.status}; it can be run again from a step when it has ended", str(old.status))
    stored = definitions.input_of(definition, old.definition, _decoded(again.input_of(old)))
    signature = definitions.launched(context, definition, None)
    taken, skipped = to_take(compile_plan(definition, signature), steps, step)
    return _start(context, old, signature, stored, "rerun", again, {"run": str(run), "names": taken, "skipped": skipped})


def _decoded(given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of an input in stored form."""
    return {name: decode(value) for name, value in given.items()}


def _found(tx: Tx, run: UUID) -> RunRow:
    found = load_run(tx, run)
    if found is None:
        raise NotFound("run", str(run))
    return found


def _definition(old: RunRow, body: str | None) -> Definition:
    if body is None:
        raise NotFound("definition of run", str(old.id))
    return Definition.model_validate_json(body)


def _start(
    context: Context, old: RunRow, signature: str, stored: dict[str, Any], verb: str, again: Again, taken: dict[str, Any] | None
) -> UUID:
    text = dumps(stored)
    if len(text) > context.settings.input_limit:
        raise InvalidInput(old.workflow, [("input", f"it has {len(text)} bytes, more than {context.settings.input_limit}")])
    with context.transaction() as tx:
        [record] = reading.find_runs(tx, str(old.id), limit=1)
        mine = [tag for tag in record.tags if not tag.startswith(("replay_of:", "rerun_of:"))]
        new = NewRun(
            id=uuid7(),
            organization_id=old.organization_id,
            workflow=old.workflow,
            definition=signature,
            input=text,
            input_digest=context.database.payloads.digest(text.encode(), old.organization_id),
            key=again.key,
            queue=old.queue,
            priority=old.priority,
            tags=[*mine, f"{verb}_of:{old.id}"],
            rings=context.rings,
        )
        if not insert_run(tx, new):
            raise KeyConflict(again.key or "", "another run", "already")
        if taken is not None:
            inbox.put(tx, old.organization_id, new.id, "take_over", taken)
        audit.tell(tx, old.organization_id, old.id, verb, again.by, again.reason or f"as run {new.id}")
        audit.tell(tx, old.organization_id, new.id, verb, again.by, again.reason or f"of run {old.id}")
    context.bell.ring([RingRun(old.organization_id, new.id, old.queue)])
    return new.id
