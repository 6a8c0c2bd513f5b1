"""Statements, written once with SQLAlchemy, compiled once per dialect, executed as text on the driver's cursor.

That is a third of the price of executing Core expressions (each execution of those looks for its compiled
form again), and it lets one statement run on SQLAlchemy's connection, the driver's, or Django's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any
from uuid import UUID
from weakref import WeakSet

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from wfcelery.store.schema import Instant, Value

_FLOAT8 = 701  # PostgreSQL's number for double precision
Parameters = Mapping[str, Any]
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What a statement gave back: its rows, and how many rows it touched."""

    rows: list[Row]
    count: int


class clock(FunctionElement[Any]):  # noqa: N801  reads as a function
    """The database's own time, now; within a transaction it goes on."""

    type = Instant()
    inherit_cache = True
    name = "clock"


@compiles(clock, "postgresql")
def _clock_postgresql(_: clock, __: SQLCompiler, **___: Any) -> str:
    return "clock_timestamp()"


@compiles(clock, "sqlite")
def _clock_sqlite(_: clock, __: SQLCompiler, **___: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


class moment(FunctionElement[Any]):  # noqa: N801
    """The database's time when the statement began: the same for all of its parts, and an index can be asked for it."""

    type = Instant()
    inherit_cache = True
    name = "moment"


@compiles(moment, "postgresql")
def _moment_postgresql(_: moment, __: SQLCompiler, **___: Any) -> str:
    return "statement_timestamp()"


@compiles(moment, "sqlite")
def _moment_sqlite(_: moment, __: SQLCompiler, **___: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


class soon(FunctionElement[Any]):  # noqa: N801
    """That moment and some seconds more."""

    type = Instant()
    inherit_cache = True
    name = "soon"


@compiles(soon, "postgresql")
def _soon_postgresql(element: soon, compiler: SQLCompiler, **more: Any) -> str:
    return f"(statement_timestamp() + make_interval(secs => ({compiler.process(element.clauses, **more)})::double precision))"


@compiles(soon, "sqlite")
def _soon_sqlite(element: soon, compiler: SQLCompiler, **more: Any) -> str:
    return f"((julianday('now') - 2440587.5) * 86400.0 + {compiler.process(element.clauses, **more)})"


class later(FunctionElement[Any]):  # noqa: N801
    """The database's time and some seconds more."""

    type = Instant()
    inherit_cache = True
    name = "later"


@compiles(later, "postgresql")
def _later_postgresql(element: later, compiler: SQLCompiler, **more: Any) -> str:
    seconds = compiler.process(element.clauses, **more)
    return f"(clock_timestamp() + make_interval(secs => ({seconds})::double precision))"


@compiles(later, "sqlite")
def _later_sqlite(element: later, compiler: SQLCompiler, **more: Any) -> str:
    return f"((julianday('now') - 2440587.5) * 86400.0 + {compiler.process(element.clauses, **more)})"


class fixed(FunctionElement[Any]):  # noqa: N801
    """A moment found once for the whole statement, so that an index can be asked for it.

    PostgreSQL's clock goes on within a statement; a plain comparison with it is tried on every row of an index.
    """

    type = Instant()
    inherit_cache = True
    name = "fixed"


@compiles(fixed, "postgresql")
def _fixed_postgresql(element: fixed, compiler: SQLCompiler, **more: Any) -> str:
    return "(select " + compiler.process(element.clauses, **more) + ")"


@compiles(fixed, "sqlite")
def _fixed_sqlite(element: fixed, compiler: SQLCompiler, **more: Any) -> str:
    return "(" + compiler.process(element.clauses, **more) + ")"


class seconds_until(FunctionElement[Any]):  # noqa: N801
    """How many seconds from now until a moment; negative where it has passed."""

    type = sa.Float()
    inherit_cache = True
    name = "seconds_until"


@compiles(seconds_until, "postgresql")
def _until_postgresql(element: seconds_until, compiler: SQLCompiler, **more: Any) -> str:
    return f"extract(epoch from ({compiler.process(element.clauses, **more)} - clock_timestamp()))::double precision"


@compiles(seconds_until, "sqlite")
def _until_sqlite(element: seconds_until, compiler: SQLCompiler, **more: Any) -> str:
    return f"({compiler.process(element.clauses, **more)} - (julianday('now') - 2440587.5) * 86400.0)"


class by_the_way(FunctionElement[str]):  # noqa: N801
    """`by_the_way(column) == word`: a condition that is tried on the rows which others have found, and finds none itself.

    A planner that has seen few rows with a status, or no statistics at all, takes the index of that status for the
    shortest way to one row, and goes through all that ever had it. A prepared statement keeps such a plan.
    """

    type = sa.Text()
    inherit_cache = True
    name = "by_the_way"


@compiles(by_the_way, "postgresql")
def _by_the_way_postgresql(element: by_the_way, compiler: SQLCompiler, **more: Any) -> str:
    return f"({compiler.process(element.clauses, **more)} || '')"


@compiles(by_the_way, "sqlite")
def _by_the_way_sqlite(element: by_the_way, compiler: SQLCompiler, **more: Any) -> str:
    return f"+{compiler.process(element.clauses, **more)}"


class Ids(TypeDecorator[Sequence[UUID]]):
    """A list of ids as one parameter: an array on PostgreSQL, JSON elsewhere."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        kind: TypeEngine[Any] = postgresql.ARRAY(sa.Uuid()) if dialect.name == "postgresql" else sa.Text()
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: Sequence[UUID] | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        return list(value) if dialect.name == "postgresql" else json.dumps([each.hex for each in value])


class Words(TypeDecorator[Sequence[str]]):
    """A list of texts as one parameter."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        kind: TypeEngine[Any] = postgresql.ARRAY(sa.Text()) if dialect.name == "postgresql" else sa.Text()
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        return list(value) if dialect.name == "postgresql" else json.dumps(list(value))


class Numbers(TypeDecorator[Sequence[int]]):
    """A list of numbers as one parameter, on PostgreSQL alone."""

    impl = postgresql.ARRAY(sa.Integer())
    cache_ok = True


class Values(TypeDecorator[Sequence[str | None]]):
    """A list of stored values (`schema.Value`), some of which may be missing, as one parameter, on PostgreSQL alone."""

    impl = postgresql.ARRAY(sa.Text())
    cache_ok = True
    what = "value"


class among(FunctionElement[bool]):  # noqa: N801
    """`among(column, bindparam)`: whether a column's value is in a list that is one parameter."""

    type = sa.Boolean()
    inherit_cache = True
    name = "among"

    def self_group(self, against: Any = None) -> Any:  # noqa: ARG002
        """As it is: `(…) = 1`, which SQLite would get otherwise, finds no index."""
        return self


@compiles(among, "postgresql")
def _among_postgresql(element: among, compiler: SQLCompiler, **more: Any) -> str:
    column, values = (compiler.process(clause, **more) for clause in element.clauses)
    return f"{column} = any({values})"


@compiles(among, "sqlite")
def _among_sqlite(element: among, compiler: SQLCompiler, **more: Any) -> str:
    column, values = (compiler.process(clause, **more) for clause in element.clauses)
    return f"{column} in (select value from json_each({values}))"  # noqa: S608  both are compiled clauses


class half_of(FunctionElement[int]):  # noqa: N801
    """0 or 1 by the last bit of an id, which is random: of many rows about half of each."""

    type = sa.Integer()
    inherit_cache = True
    name = "half_of"


@compiles(half_of, "postgresql")
def _half_postgresql(element: half_of, compiler: SQLCompiler, **more: Any) -> str:
    return f"(get_byte(uuid_send({compiler.process(element.clauses, **more)}), 15) & 1)"


@compiles(half_of, "sqlite")
def _half_sqlite(element: half_of, compiler: SQLCompiler, **more: Any) -> str:
    return f"(instr('13579bdf', substr({compiler.process(element.clauses, **more)}, 32, 1)) > 0)"


def one(name: str, type_: Any) -> Any:
    """A parameter with its type. PostgreSQL cannot guess a lone null's, and its driver names only some."""
    parameter = sa.bindparam(name, type_=type_)
    return sa.cast(parameter, type_) if type_ in (sa.Float, sa.Boolean) else parameter


def is_one_of(column: Any, words: Collection[str]) -> Any:
    """Whether a column is one of these words, which are ours and written into the statement."""
    return column.op("in", is_comparison=True)(sa.literal_column("(" + ", ".join(f"'{word}'" for word in sorted(words)) + ")"))


@dataclass(frozen=True, slots=True)
class Compiled:
    """One statement in one dialect and parameter style: its text, and how values go in and come out."""

    text: str
    constants: Parameters
    binds: tuple[tuple[str, Callable[[Any], Any]], ...]
    results: tuple[tuple[int, Callable[[Any], Any]], ...]
    order: tuple[str, ...] | None  # positional styles
    returns: bool
    written: tuple[tuple[str, str], ...]  # parameters that are stored values, and what they are
    read: tuple[tuple[int, str], ...]  # columns of the result that are
    owner: int | None  # the column that says whose row it is
    plainly: Callable[[Parameters], Any] | None  # the values in their order, where they are two or more, and go in as they are

    def parameters(self, given: Parameters | None) -> Any:
        """The driver's parameters."""
        if self.plainly is not None and given:
            return self.plainly(given)
        values = {**self.constants, **(given or {})}
        for name, process in self.binds:
            values[name] = process(values[name])
        return values if self.order is None else [values[name] for name in self.order]

    def rows(self, found: Sequence[Row]) -> list[Row]:
        """The rows with each value as its type says."""
        if not self.results:
            return list(found)
        made = []
        for row in found:
            values = list(row)
            for at, process in self.results:
                values[at] = process(values[at])
            made.append(tuple(values))
        return made


class Statement:
    """One statement, in every dialect we speak. `make` gets the dialect's name where the dialects differ."""

    def __init__(self, made: Any) -> None:
        self._made = made
        self._compiled: dict[str, Compiled] = {}
        _STATEMENTS.add(self)

    def on(self, style: str) -> Compiled:
        """The statement for `postgresql`, `sqlite`, or either with `+format` for Django's cursor."""
        found = self._compiled.get(style)
        if found is None:
            found = self._compiled[style] = self._compile(style)
        return found

    def _compile(self, style: str) -> Compiled:
        dialect = dialect_of(style)
        element = self._made(dialect.name) if callable(self._made) else self._made
        compiled = element.compile(dialect=dialect)
        constants: Parameters = {name: bind.effective_value for bind, name in compiled.bind_names.items() if not bind.required}
        binds = tuple((name, process) for name, process in compiled._bind_processors.items() if process is not None)
        results = []
        for at, column in enumerate(compiled._result_columns):
            process = column.type.dialect_impl(dialect).result_processor(dialect, _FLOAT8 if isinstance(column.type, sa.Float) else None)
            if process is not None:
                results.append((at, process))
        written = tuple((name, bind.type.what) for bind, name in compiled.bind_names.items() if isinstance(bind.type, Value | Values))
        columns = compiled._result_columns
        read = tuple((at, column.type.what) for at, column in enumerate(columns) if isinstance(column.type, Value))
        owner = next((at for at, column in enumerate(columns) if column.keyname.startswith("organization_id")), None)
        order = tuple(compiled.positiontup) if compiled.positional else None
        text = str(compiled)
        if order is None:
            text, constants = _written_out(text, constants, dialect.name)
            if dialect.name == "postgresql":
                text, order = _numbered(text)
        plainly = itemgetter(*order) if order is not None and len(order) > 1 and not constants and not binds else None
        return Compiled(text, constants, binds, tuple(results), order, bool(columns), written, read, owner, plainly)


_STATEMENTS: WeakSet[Statement] = WeakSet()


def compile_all(style: str) -> None:
    """Compile what has been loaded by now, before a pool forks: its children share the outcome and never wake the compiler."""
    for statement in list(_STATEMENTS):
        statement.on(style)


def _written_out(text: str, constants: Parameters, dialect: str) -> tuple[str, Parameters]:
    """Our own words and numbers as literals: a planner cannot know that a parameter means a partial index."""
    left = {}
    for name, value in constants.items():
        if isinstance(value, bool) or not isinstance(value, str | int):
            left[name] = value
            continue
        literal = "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(int(value))
        if dialect == "postgresql":
            pattern, literal = rf"%\({re.escape(name)}\)s(::(VARCHAR|TEXT|INTEGER))?", literal.replace("%", "%%")
        else:
            pattern = rf":{re.escape(name)}\b"
        text = re.sub(pattern, literal.replace("\\", r"\\"), text)
    return text, left


def _numbered(text: str) -> tuple[str, tuple[str, ...]]:
    """PostgreSQL's own placeholders, once for all: the driver parses a long statement with names anew at each execution."""
    names: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        return "%" if found[0] == "%%" else f"${names.setdefault(found[1], len(names) + 1)}"

    return re.sub(r"%%|%\((\w+)\)s", number, text), tuple(names)


_DIALECTS: dict[str, Dialect] = {}


def dialect_of(style: str) -> Dialect:
    """SQLAlchemy's dialect for one of our styles."""
    if style not in _DIALECTS:
        name, _, parameters = style.partition("+")
        if name == "postgresql":
            _DIALECTS[style] = psycopg_dialect.dialect(paramstyle=parameters or "pyformat")  # type: ignore[no-untyped-call]
        else:
            _DIALECTS[style] = sqlite.dialect(paramstyle=parameters or "named")
    return _DIALECTS[style]
