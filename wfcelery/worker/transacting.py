"""Transactional steps: the effect, the result and the report of it in one commit, at any isolation level.

The step's transaction never reads or locks the run, and the write of its own row is its last statement: at
REPEATABLE READ anything that locked the run would clash with every sibling that had committed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import sleep
from typing import Any

from wfcelery.authoring.registry import Registry
from wfcelery.definition.values import dumps
from wfcelery.engine.patience import until_answered
from wfcelery.engine.ports import Call, Fenced, Outcome, Policy, Raised, ReportedItself
from wfcelery.errors import Misconfigured, RowChanged, Unavailable
from wfcelery.settings import Settings
from wfcelery.store.database import Database, Tx
from wfcelery.store.failures import CommitUnknown, SerializationClash, named_error, translated
from wfcelery.store.transactional import recorded, report

log = logging.getLogger(__name__)

TRIES = 20  # clashes after which an attempt counts as failed

LEVELS = {
    "postgresql": ("read uncommitted", "read committed", "repeatable read", "serializable"),
    "sqlite": ("serializable",),
}

Opened = tuple[Any, Tx]  # the connection the author's code is given, and our way into its transaction


class TooLarge(Exception):  # noqa: N818  it says what happened
    """The result is larger than a row may hold: roll the effect back."""


@dataclass(slots=True)
class StepTransactions:
    """Carries transactional steps out on our own connections, or on the framework's where it has one for our tables."""

    database: Database
    settings: Settings
    borrowed: Callable[[Database, str | None, float], Any] | None = None  # a context manager that gives Opened or None

    def carry_out(self, call: Call, policy: Policy, body: Callable[[Any], Any]) -> Outcome:
        """Open the transaction, have `body` give the result, report, commit; a clash of transactions repeats it all."""
        for attempt in range(TRIES):
            try:
                return until_answered(self.settings.lease, lambda: self._once(call, policy, body))
            except BaseException as problem:
                cause = getattr(problem, "error", None) or problem
                if not self.may_be_repeated(cause):
                    raise
                log.info("step %s of run %s: transactions clashed, once more", call.name, call.run)
                sleep(min(0.01 * 2**attempt, 0.5))
        return Raised({"type": "SerializationClash", "code": "serialization_clash", "message": f"{TRIES} clashes of transactions"})

    def _once(self, call: Call, policy: Policy, body: Callable[[Any], Any]) -> Outcome:
        """One transaction. Raises Unavailable where it was lost without an effect: before its commit, or at one that did not land."""
        try:
            with translated(during_commit=False), self._opened(policy.isolation, call.timeout) as (connection, tx):
                text = dumps(body(connection))
                if len(text) > self.settings.input_limit:
                    raise TooLarge(f"the result has {len(text)} bytes, more than {self.settings.input_limit}")
                report(tx, call.organization_id, call.run, call.step, call.token, text)
        except TooLarge as problem:
            return Raised({"type": "BadResult", "code": "bad_result", "message": str(problem)}, final=True)
        except RowChanged:
            return Fenced()
        except CommitUnknown as unknown:
            sleep(0.5)  # the old server process may still be at its COMMIT
            if not until_answered(self.settings.lease, lambda: self._landed(call)):
                raise Unavailable("database", str(unknown)) from unknown
        return ReportedItself()

    def may_be_repeated(self, error: BaseException) -> bool:
        """Whether this error is a clash of transactions, which is no failure of the step."""
        seen: BaseException | None = error
        while seen is not None:
            if isinstance(named_error(seen), SerializationClash):
                return True
            seen = getattr(seen, "orig", None) or seen.__cause__
        return False

    def refuse_levels(self, registry: Registry) -> None:
        """Raise Misconfigured for every step whose isolation level this database has not: at the start, not in a run."""
        known = LEVELS[self.database.dialect]
        wrong = [
            f"{spec.name} asks for {spec.isolation}, which {self.database.dialect} has not (it has {', '.join(known)})"
            for spec in registry.steps()
            if spec.transactional and spec.isolation is not None and spec.isolation.lower() not in known
        ]
        if wrong:
            raise Misconfigured("; ".join(wrong))

    @contextmanager
    def _opened(self, isolation: str | None, timeout: float | None) -> Iterator[Opened]:
        limit = timeout if timeout is not None else self.settings.transactional_timeout
        if self.database.dialect == "sqlite":
            limit = min(limit, self.settings.lease / 3)  # one writer: nobody else writes meanwhile
        if self.borrowed is not None:
            with self.borrowed(self.database, isolation, limit) as opened:
                if opened is not None:
                    yield opened
                    return
        with self.database.lent(isolation, limit) as (connection, tx):
            yield connection, tx

    def _landed(self, call: Call) -> bool:
        with self.database.transaction() as tx:
            return recorded(tx, call.step, call.token)
