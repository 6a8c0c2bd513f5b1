"""A checker that has never failed proves nothing: each invariant is broken, and found by exactly that invariant."""

from __future__ import annotations

from tests.corruption.clean import clean
from tests.corruption.corruptors import CORRUPTORS
from tests.corruption.judging import found_by
from wfcelery.service.invariants import INVARIANTS, problems_of_all
from wfcelery.store.database import Database


def test_every_corruption_is_found_by_exactly_its_invariant(database: Database) -> None:
    runs = clean(database)
    assert [problem for _, found in problems_of_all(database, runs.ledgers) for problem in found] == []
    wrong = {}
    for corruptor in CORRUPTORS:
        found = found_by(runs, corruptor)
        if {problem.number for problem in found} != {corruptor.number} | corruptor.also:
            wrong[f"{corruptor.number}: {corruptor.what}"] = [str(problem) for problem in found]
    assert wrong == {}
    assert [problem for _, found in problems_of_all(database, runs.ledgers) for problem in found] == [], "a corruption was not taken back"


def test_every_invariant_has_a_corruptor() -> None:
    assert {invariant.number for invariant in INVARIANTS} == {corruptor.number for corruptor in CORRUPTORS}
