"""One statement of an author's, with bound values: its rows as dicts, or how many it wrote. The text is the author's, never ours.

What a driver says in its own words quotes values; of a fault only its name, its code and the names of tables, columns and
constraints are kept.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib import import_module
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from wfcelery.definition.statement_text import with_colons_escaped
from wfcelery.errors import InternalError, Misconfigured
from wfcelery.store.failures import DRIVER_ERRORS, SerializationClash, named_error
from wfcelery.store.statements import dialect_of

Outcome = list[dict[str, Any]] | int

_REFUSALS: tuple[type[Exception], ...] = (sa.exc.DBAPIError, *DRIVER_ERRORS)
_CONNECTING = 5  # seconds
_FOR_NOW = ("08", "40", "53", "55", "57", "58")  # classes of SQLSTATE that another time may not meet
_OF_SCHEMA = re.compile(r'no such \w+: [\w.]+|near "\w*": syntax error|\w+( \w+)? constraint failed: [\w., ]+')
_PASSING = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_FULL", "SQLITE_PROTOCOL", "SQLITE_CANTOPEN")


class Unbound(InternalError):  # noqa: N818  they say what happened
    """The statement and the values do not name the same things."""


class TooManyRows(InternalError):  # noqa: N818
    """More rows than were asked for."""


class Fault(InternalError):  # noqa: N818
    """The database did not execute it. `final`: it never will."""

    def __init__(self, said: str, code: str, final: bool) -> None:
        super().__init__(said)
        self.code, self.final = code, final


def execute(connection: Any, statement: str, values: Mapping[str, Any], most: int) -> Outcome:
    """On an open transaction: a SQLAlchemy connection, or Django's. Raises SerializationClash, Fault, Unbound, TooManyRows."""
    text = sa.text(with_colons_escaped(statement))
    bound = _bound(text, values)
    try:
        if isinstance(connection, sa.Connection):
            # Only a plain SELECT can be read by a cursor of the server's, of which no more rows come than are asked for.
            options = {"stream_results": bool(re.match(r"\s*select\b", statement, re.IGNORECASE))}
            with closing(connection.execute(text, bound, execution_options=options)) as result:
                return _result_of(result, most)
        return _on_django(connection, text, bound, most)
    except _REFUSALS as problem:
        raise _fault(problem) from None


def execute_on(url: str, statement: str, values: Mapping[str, Any], most: int, seconds: float) -> Outcome:
    """On a connection of its own, committed. `seconds` is what PostgreSQL lets it take. Raises as `execute`, and Misconfigured."""
    engine = _engine(url)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"set local statement_timeout = {max(1, int(seconds * 1000))}")
            return execute(connection, statement, values, most)
    except SerializationClash:
        raise Fault("the statement clashed with another transaction", "40001", final=False) from None
    except _REFUSALS as problem:
        raise _fault(problem) from None
    finally:
        engine.dispose()


def _engine(url: str) -> sa.Engine:
    """An engine without a pool: nothing is left open on somebody else's database, and nothing is shared over a fork."""
    try:
        found = make_url(url)
        if found.drivername in ("postgres", "postgresql"):
            found = found.set(drivername="postgresql+psycopg")
        arguments: dict[str, Any] = {"connect_timeout": _CONNECTING} if found.get_backend_name() == "postgresql" else {}
        return sa.create_engine(found, poolclass=sa.NullPool, connect_args=arguments, hide_parameters=True)
    except ModuleNotFoundError as missing:
        raise Misconfigured(f"this database needs {missing.name} on the worker: pip install {missing.name}") from None
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ValueError):
        raise Misconfigured("the database's address in sql_databases cannot be read, or SQLAlchemy knows no such kind") from None


def _bound(text: sa.TextClause, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that the statement names. All of them, and no others but the step's key."""
    named = set(text.compile().params)
    missing, unused = sorted(named - values.keys()), sorted(values.keys() - named - {"idempotency_key"})
    faults = [f"the statement names :{name}, which parameters lack" for name in missing]
    faults += [f"parameters hold {name}, which the statement does not name" for name in unused]
    if faults:
        raise Unbound("; ".join(faults))
    return {name: json.dumps(values[name], default=str) if isinstance(values[name], dict) else values[name] for name in named}


def _result_of(result: sa.CursorResult[Any], most: int) -> Outcome:
    if not result.returns_rows:
        return result.rowcount
    names = list(result.keys())
    return _as_dicts(names, [tuple(row) for row in result.fetchmany(most + 1)], most)


def _on_django(connection: Any, text: sa.TextClause, bound: Mapping[str, Any], most: int) -> Outcome:
    style = "postgresql" if connection.vendor == "postgresql" else "sqlite+pyformat"
    written = str(text.compile(dialect=dialect_of(style)))
    refusals: type[Exception] = import_module("django.db").Error  # what Django makes of a driver's error, which is its cause
    try:
        with connection.cursor() as cursor:
            cursor.execute(written, dict(bound))
            if cursor.description is None:
                return int(cursor.rowcount)
            return _as_dicts([column[0] for column in cursor.description], cursor.fetchmany(most + 1), most)
    except refusals as problem:
        raise _fault(problem.__cause__ or problem) from None


def _as_dicts(names: Sequence[str], rows: Sequence[Sequence[Any]], most: int) -> list[dict[str, Any]]:
    if len(rows) > most:
        raise TooManyRows
    if len(set(names)) < len(names):
        raise Fault("two columns have one name: call one of them something else with `as`", "ambiguous_column", final=True)
    return [dict(zip(names, row, strict=True)) for row in rows]


def _fault(problem: BaseException) -> Exception:
    driver = (problem.orig if isinstance(problem, sa.exc.DBAPIError) else problem) or problem
    named = named_error(driver)
    if isinstance(named, SerializationClash):
        return SerializationClash("transactions clashed")
    if isinstance(driver, sqlite3.Error):
        return _of_sqlite(driver)
    state = getattr(driver, "sqlstate", None) or getattr(driver, "pgcode", None)
    if state is None:
        lost = isinstance(problem, sa.exc.OperationalError | sa.exc.InterfaceError) or not isinstance(problem, sa.exc.DBAPIError)
        kind = type(driver).__name__
        if lost:
            return Fault(f"the database cannot be reached, or the connection was lost ({kind})", "connection", final=False)
        return Fault(f"the database refused the statement: {kind}", kind, final=True)
    final = not str(state).startswith(_FOR_NOW)
    return Fault(f"the database did not execute the statement: {type(driver).__name__} ({state}){_names(driver)}", str(state), final)


def _of_sqlite(driver: sqlite3.Error) -> Fault:
    name = getattr(driver, "sqlite_errorname", None) or type(driver).__name__
    about = _OF_SCHEMA.match(str(driver))
    said = f"{name}, {about[0]}" if about else name
    return Fault(f"the database did not execute the statement: {said}", name, final=not name.startswith(_PASSING))


def _names(driver: BaseException) -> str:
    """What of the schema it is about: of PostgreSQL's diagnosis the names alone, or what is wrong with the text itself (class 42)."""
    diagnosis = getattr(driver, "diag", None)
    about = getattr(diagnosis, "message_primary", None)
    if about and str(getattr(diagnosis, "sqlstate", "")).startswith("42"):
        return f", {about}"
    facts = {kind: getattr(diagnosis, f"{kind}_name", None) for kind in ("table", "column", "constraint")}
    told = [f"{kind} {name}" for kind, name in facts.items() if name]
    return ", " + ", ".join(told) if told else ""
