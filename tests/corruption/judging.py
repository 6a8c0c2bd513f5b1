"""Apply a corruptor, put the checker to it, and take the corruption back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from tests.corruption.clean import Clean
from tests.corruption.corruptors import Corruptor, Hand
from wfcelery.service.invariants import Ledgers, Problem, problems_of_all
from wfcelery.store.database import Tx


class _TakenBack(Exception):
    """Never to be committed."""


class Within:
    """One open transaction, as the database that the checker reads."""

    def __init__(self, tx: Tx) -> None:
        self._tx, self.dialect = tx, tx.dialect

    def transaction(self, isolation: str | None = None) -> AbstractContextManager[Tx]:
        return self._same()

    @contextmanager
    def _same(self) -> Iterator[Tx]:
        yield self._tx


def found_by(clean: Clean, corruptor: Corruptor) -> list[Problem]:
    """What the checker says once this one thing is wrong."""
    found: list[Problem] = []
    try:
        with clean.database.transaction() as tx:
            ledgers = corruptor.make(Hand(clean, tx)) or clean.ledgers
            found = _judged(clean, Within(tx), ledgers, corruptor)
            raise _TakenBack
    except _TakenBack:
        return found


def _judged(clean: Clean, database: Within, ledgers: Ledgers, corruptor: Corruptor) -> list[Problem]:
    judged = None if corruptor.runs is None else {clean.runs[name] for name in corruptor.runs}
    pairs = problems_of_all(database, ledgers)
    return [problem for run, problems in pairs if judged is None or run is None or run in judged for problem in problems]
