"""What must always hold of a database, as a list of checks that anybody can run: each with its number and one sentence.

`problems` judges one run by its evidence, `problems_of_all` every run and the database as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from wfcelery.service.invariants import answers, attempts, children, compensation, effects, fleet, graph, heard, limits, regions, state
from wfcelery.service.invariants.case import Case
from wfcelery.service.invariants.ledgers import Carried, Effect, Ledgers, Start, effect_of, read_effects, read_starts, read_tap, start_of
from wfcelery.service.invariants.registry import INVARIANTS, LATER, Invariant, Problem
from wfcelery.service.invariants.whole import Whole
from wfcelery.store.evidence import Evidence
from wfcelery.store.verifying import Readable, every_evidence, remains

__all__ = [
    "CHECKS",
    "INVARIANTS",
    "LATER",
    "Carried",
    "Effect",
    "Evidence",
    "Invariant",
    "Ledgers",
    "Problem",
    "Start",
    "effect_of",
    "problems",
    "problems_of_all",
    "read_effects",
    "read_starts",
    "read_tap",
    "start_of",
]

# Each enters its invariants when it is loaded.
CHECKS = (answers, attempts, children, compensation, effects, fleet, graph, heard, limits, regions, state)
NOTHING = Ledgers()


def problems(evidence: Evidence, ledgers: Ledgers = NOTHING) -> list[Problem]:
    """Everything that is wrong with one run, by the numbers of the invariants; pure over what was read."""
    case = Case(evidence, ledgers)
    found: list[Problem] = []
    for invariant in sorted(INVARIANTS, key=lambda each: each.number):
        if invariant.check is None:
            continue
        try:
            found += [invariant.problem(what) for what in invariant.check(case)]
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            found.append(invariant.problem(f"it cannot be judged: {type(problem).__name__}: {problem}"))
    return found


def problems_of_all(database: Readable, ledgers: Ledgers = NOTHING) -> Iterator[tuple[UUID | None, list[Problem]]]:
    """Every run with what is wrong with it, if anything, and at last, under None, what is wrong across runs.

    Each run is read at one moment, so a working fleet disturbs nothing. Problems across runs that are about one run
    come as another pair of that run.
    """
    with database.transaction() as tx:
        whole = Whole(ledgers, remains(tx))
    for evidence in every_evidence(database):
        whole.see(evidence)
        yield evidence.run.id, problems(evidence, ledgers)
    across: dict[UUID | None, list[Problem]] = {None: []}
    for invariant in sorted(INVARIANTS, key=lambda each: each.number):
        for run, what in invariant.across(whole) if invariant.across is not None else ():
            across.setdefault(run, []).append(invariant.problem(what))
    yield from across.items()
