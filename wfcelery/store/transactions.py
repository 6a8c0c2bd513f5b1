"""A transaction as every function of the store takes it: on the driver's cursor, or on that of a framework."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Protocol, TypeVar

from wfcelery.errors import Misconfigured
from wfcelery.store.outside import Outside
from wfcelery.store.payloads import PLAIN, Payloads
from wfcelery.store.statements import Parameters, Result, Statement

T = TypeVar("T")


class Tx(Protocol):
    """An open transaction."""

    @property
    def dialect(self) -> str:
        """`postgresql` or `sqlite`."""

    @property
    def payloads(self) -> Payloads:
        """What is done to values on their way into rows and out of them."""

    def execute(self, statement: Statement, parameters: Parameters | None = None) -> Result:
        """Run one statement."""

    def many(self, statement: Statement, parameters: list[Parameters]) -> int:
        """Run one statement for each of these, in as few round trips as the driver can; rows touched in all."""


class CursorTx:
    """A transaction on the driver's own cursor."""

    def __init__(self, cursor: Any, dialect: str, style: str | None = None, payloads: Payloads = PLAIN) -> None:
        self._cursor, self.dialect, self._style, self.payloads = cursor, dialect, style or dialect, payloads
        self.waits = True  # for another store's values, where they are: ours, which can be tried again, does not

    def execute(self, statement: Statement, parameters: Parameters | None = None) -> Result:
        """Run one statement."""
        compiled = statement.on(self._style)
        if compiled.written and parameters:
            given = parameters
            parameters = self._settled(lambda: self.payloads.going_in(self, compiled, given))
        self._cursor.execute(compiled.text, compiled.parameters(parameters))
        rows = compiled.rows(self._cursor.fetchall()) if compiled.returns else []
        if compiled.read and rows:
            rows = self._settled(lambda: self.payloads.coming_out(self, compiled, rows, parameters))
        return Result(rows, len(rows) if compiled.returns else self._cursor.rowcount)

    def many(self, statement: Statement, parameters: list[Parameters]) -> int:
        """Run one statement for each of these."""
        if not parameters:
            return 0
        compiled = statement.on(self._style)
        if compiled.written:
            parameters = self._settled(lambda: self.payloads.all_going_in(self, compiled, parameters))
        self._cursor.executemany(compiled.text, [compiled.parameters(each) for each in parameters])
        return int(self._cursor.rowcount)

    def _settled(self, what: Callable[[], T]) -> T:
        while True:
            try:
                return what()
            except Outside as lacking:
                if not (self.waits or lacking.of_start):
                    raise
                self.payloads.settle(lacking, lambda: nullcontext(self))


class DjangoTx:
    """The transaction of Django's connection, through Django's own cursor (its wrappers and logs stay)."""

    def __init__(self, connection: Any, payloads: Payloads = PLAIN) -> None:
        if connection.vendor not in ("postgresql", "sqlite"):
            raise Misconfigured(f"wfcelery speaks PostgreSQL and SQLite, not {connection.vendor}")
        self._connection, self.dialect, self.payloads = connection, str(connection.vendor), payloads

    def execute(self, statement: Statement, parameters: Parameters | None = None) -> Result:
        """Run one statement."""
        with self._connection.cursor() as cursor:
            return CursorTx(cursor, self.dialect, f"{self.dialect}+format", self.payloads).execute(statement, parameters)

    def many(self, statement: Statement, parameters: list[Parameters]) -> int:
        """Run one statement for each of these."""
        with self._connection.cursor() as cursor:
            return CursorTx(cursor, self.dialect, f"{self.dialect}+format", self.payloads).many(statement, parameters)
