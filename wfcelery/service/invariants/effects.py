"""What steps did to the world, against what the rows say: needs the effects ledger, or the clients' own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wfcelery.core.draft import digest
from wfcelery.core.keys import idempotency_key
from wfcelery.core.rows import StepRow
from wfcelery.core.states import StepStatus
from wfcelery.service.invariants.case import Case, called
from wfcelery.service.invariants.ledgers import Effect
from wfcelery.service.invariants.registry import invariant

_DONE = (StepStatus.SUCCEEDED, StepStatus.REPORTED)


@invariant(
    26, "transactional effects", "A transactional step's effect is there once if the step succeeded, and else not at all.", "effects"
)
def transactional_effects_are_exact(case: Case) -> Iterator[str]:
    for row, effects in _of_kind(case, "transactional"):
        applied, wanted = _many(effects, "applied"), int(row.status in _DONE)
        if applied != wanted:
            yield f"step {called(row)} is {row.status}, and its effect was applied {applied} times"


@invariant(
    27, "idempotent effects", "An idempotent step's effect is there once if the step succeeded, else at most once; one call an attempt.",
    "effects",
)  # fmt: skip
def idempotent_effects_are_at_most_once(case: Case) -> Iterator[str]:
    for row, effects in _of_kind(case, "idempotent"):
        applied, calls = _many(effects, "applied"), _many(effects, "begun")
        if applied > 1 or (row.status in _DONE and applied != 1):
            yield f"step {called(row)} is {row.status}, and its effect was applied {applied} times"
        elif calls > row.attempt + case.ledgers.crashes or (row.status in _DONE and not calls):
            yield f"step {called(row)} was called {calls} times in {row.attempt} attempts"


@invariant(
    28, "calls", "A plain step is called at most once an attempt, or by a claim that a recorded crash of the database took back.", "effects"
)
def plain_steps_are_called_once_an_attempt(case: Case) -> Iterator[str]:
    for row, effects in _of_kind(case, "plain"):
        calls = _many(effects, "begun")
        if calls > row.attempt + case.ledgers.crashes:
            yield f"step {called(row)} was called {calls} times in {row.attempt} attempts"


@invariant(
    29, "claimed", "Everything that ran was claimed: each entry of the ledger is of a step's key and of one of its attempts.", "effects"
)
def nothing_ran_unclaimed(case: Case) -> Iterator[str]:
    run = case.run
    for effect in (case.ledgers.effects or {}).get(run.id, ()):
        row = case.rows.get((effect.step, effect.item))
        if row is None:
            yield f"the ledger has {effect.phase} of step {effect.step}, which has no row"
        elif effect.key != idempotency_key(run.organization_id, run.id, row.name, row.item, row.round):
            yield f"step {called(row)}: the ledger has {effect.phase} under a key that is not the step's"
        elif not (1 <= effect.attempt <= row.attempt or case.ledgers.crashes):
            yield f"step {called(row)}: the ledger has {effect.phase} of attempt {effect.attempt}, its row is at attempt {row.attempt}"


@invariant(
    30, "carried whole", "The stored result is what the step told the ledger, the stored input what the client sent.", "effects", "starts"
)
def values_are_carried_whole(case: Case) -> Iterator[str]:
    for effect in (case.ledgers.effects or {}).get(case.run.id, ()):
        row = case.rows.get((effect.step, effect.item))
        last = row is not None and row.status is StepStatus.SUCCEEDED and row.attempt == effect.attempt
        if row is not None and last and effect.phase == "ended" and effect.result not in (None, digest(row.output)):
            yield f"step {called(row)}: its result is not the one that it told the ledger"
    for start in case.ledgers.starts or ():
        if start.run == case.run.id and start.input not in (None, case.found.input_digest):
            yield "the run's input is not the one that the client sent"


def _of_kind(case: Case, kind: str) -> Iterator[tuple[StepRow, list[Effect]]]:
    """The steps of one kind that execute something, with their entries."""
    if case.ledgers.effects is None:
        return
    entries: dict[tuple[str, int], list[Effect]] = {}
    for effect in case.ledgers.effects.get(case.run.id, ()):
        entries.setdefault((effect.step, effect.item), []).append(effect)
    for place, row in case.rows.items():
        node = case.plan.nodes.get(row.name) if case.plan is not None else None
        executes = node is None or (node.kind == "action" and row.items_left is None)
        if executes and case.ledgers.kind_of(case.run.workflow, row.name) == kind:
            yield row, entries.get(place, [])


def _many(effects: Iterable[Effect], phase: str) -> int:
    return sum(effect.phase == phase for effect in effects)
