"""One process's connections to PostgreSQL: a stack, the one used last on top, and the shortest way to say one statement on them.

SQLAlchemy makes each connection. It is not asked again for each use: a checkout of its pool and an execution by the driver's
cursor cost more than all that the engine does between two commits of a chain.
"""

from __future__ import annotations

import select
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

try:
    import psycopg
except ImportError:  # SQLite alone needs no PostgreSQL driver
    psycopg = None  # type: ignore[assignment]

# `generators` is the driver's own way to wait for an answer, and nobody's public promise: with another driver its cursor is used.
KNOWN = psycopg is not None and psycopg.__version__.startswith("3.3.")
if KNOWN:
    from psycopg import errors, generators
    from psycopg.adapt import PyFormat, Transformer
    from psycopg.pq import ExecStatus

    _AUTO = [PyFormat.AUTO] * 128

# Of what we ask, there is an index for nearly all, and the rest is small. A statement that is prepared while the tables are
# small keeps its plan while they grow: one that reads the whole table, until the next ANALYZE.
PLANNING = {"enable_seqscan": "off", "jit": "off"}

Row = tuple[Any, ...]
Prepared = tuple[str, tuple[int, ...] | None]  # a statement's text, and the types that its values came with


@dataclass(frozen=True, slots=True)
class Counted:
    """The result of many executions: how many rows all of them touched."""

    command_tuples: int


class Line:
    """One connection, in one thread's hands until it is closed, which puts it back, or invalidated, which ends it."""

    __slots__ = ("_adapter", "_fairy", "_lines", "_poll", "_prepared", "driver_connection")

    def __init__(self, lines: Lines, fairy: Any) -> None:
        self._lines, self._fairy = lines, fairy
        self.driver_connection: Any = fairy.driver_connection
        self._prepared: dict[Prepared, bytes] = {}
        self._adapter: Any = Transformer(self.driver_connection) if KNOWN else None
        self._poll: Any = None
        if hasattr(select, "poll"):  # eventlet takes it away
            self._poll = select.poll()
            self._poll.register(self.driver_connection.fileno(), select.POLLIN)

    def close(self) -> None:
        """Put it back for the next use."""
        self._lines.put_back(self)

    def invalidate(self) -> None:
        """End it: nobody knows what it is in."""
        self._fairy.invalidate()

    def has_been_closed(self) -> bool:
        """Whether something has come on a connection that nobody used: its end, as a rule. Costs no round trip."""
        if self.driver_connection.closed:
            return True
        if self._poll is None:
            return bool(select.select([self.driver_connection.fileno()], [], [], 0.0)[0])
        return bool(self._poll.poll(0))

    def cursor(self) -> Any:
        """Something that executes statements of ours: with a driver that is not known, the driver's own cursor."""
        return LineCursor(self.driver_connection, self._prepared, self._adapter) if KNOWN else psycopg.RawCursor(self.driver_connection)


class LineCursor:
    """As the driver's cursor, for statements with the server's own placeholders, each prepared when it is first met.

    `adapter` knows how each type of value is written and read; it is the connection's, so that this is found out once.
    """

    __slots__ = ("_adapter", "_driver", "_prepared", "_result")

    def __init__(self, driver: Any, prepared: dict[Prepared, bytes], adapter: Any) -> None:
        self._driver, self._prepared, self._adapter = driver, prepared, adapter
        self._result: Any = None

    def execute(self, text: str, values: Sequence[Any] | None = None) -> None:
        """Execute one statement; raises the driver's errors."""
        link = self._driver.pgconn
        if not values:
            link.send_query(text.encode())
            self._result = self._answer()
            return
        adapter = self._adapter
        given = adapter.dump_sequence(values, _AUTO[: len(values)] if len(values) <= len(_AUTO) else [PyFormat.AUTO] * len(values))
        key = text, adapter.types
        name = self._prepared.get(key)
        if name is None:
            name = b"wf_%d" % len(self._prepared)
            link.send_prepare(name, text.encode(), param_types=adapter.types)
            self._answer()
            self._prepared[key] = name
        link.send_query_prepared(name, given, param_formats=adapter.formats)
        self._result = self._answer()

    def executemany(self, text: str, given: Sequence[Sequence[Any]]) -> None:
        """Execute one statement for each of these, in the driver's own pipeline."""
        cursor = psycopg.RawCursor(self._driver)
        cursor.executemany(text, given)
        self._result = Counted(cursor.rowcount)

    def fetchall(self) -> list[Row]:
        """All rows of the last statement."""
        self._adapter.set_pgresult(self._result)
        rows: list[Row] = self._adapter.load_rows(0, self._result.ntuples, tuple)
        return rows

    @property
    def rowcount(self) -> int:
        """How many rows the last statement touched."""
        return self._result.command_tuples or 0

    def _answer(self) -> Any:
        *_, result = self._driver.wait(generators.execute(self._driver.pgconn))
        if result.status == ExecStatus.FATAL_ERROR:
            raise errors.error_from_result(result, self._driver.info.encoding)
        return result


class Lines:
    """The connections of one process that nobody uses at the moment."""

    def __init__(self, engine: sa.Engine, most: int) -> None:
        self._engine, self._most = engine, most
        self._idle: list[Line] = []

    def take(self) -> Line:
        """One that the server has not closed meanwhile, or a new one."""
        while self._idle:
            try:
                line = self._idle.pop()
            except IndexError:  # another thread was first
                break
            if not line.has_been_closed():
                return line
            line.invalidate()
        return Line(self, self._engine.raw_connection())

    def put_back(self, line: Line) -> None:
        """Keep it for the next use, or end it where enough are kept."""
        if len(self._idle) < self._most:
            self._idle.append(line)
        else:
            line.invalidate()

    def end(self) -> None:
        """End those at rest."""
        while self._idle:
            self._idle.pop().invalidate()
