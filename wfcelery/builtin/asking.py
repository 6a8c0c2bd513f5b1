"""`wf.sql`: one statement, with bound values, on a database that the operator has named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wfcelery.authoring.context import current_step
from wfcelery.authoring.decorators import step
from wfcelery.authoring.registry import registry
from wfcelery.builtin.failures import InvalidCall, NotConfigured
from wfcelery.builtin.parts import part, settings
from wfcelery.definition.spans import seconds
from wfcelery.definition.statement_text import fault_of_statement
from wfcelery.errors import Duration, InvalidSpan

MOST_ROWS = 100_000
OWN = "own"
KEY = "idempotency_key"


@step(name="wf.sql", transactional=True)
def sql(
    statement: str, parameters: dict[str, Any] | None = None, database: str = "default", limit: int = 1_000, timeout: Duration = "30s"
) -> Any:
    """Execute one statement: its rows as a list of dicts, or how many rows it wrote.

    Values are bound, never put into the text: write `:name`, and give it in `parameters`; `:idempotency_key` is the step's own.
    `database` is one of those the operator has named in `sql_databases`. On the one that holds wfcelery's tables ("own") the
    statement and the step's result are one commit: it takes effect exactly once. On any other it is committed first, so a worker
    that dies just then repeats it. More than `limit` rows fail the step for good. `timeout` (seconds or a span) is what a
    statement may take on another PostgreSQL; on our own the step's time limit holds.
    """
    values = dict(parameters or {})
    values.setdefault(KEY, current_step().key)
    _refuse(statement, limit, timeout)
    url = _url(database)
    asking = part("databases", "wf.sql")
    if url == OWN:
        return asking.ask_own(current_step().connection, statement, values, limit)
    return asking.ask(url, statement, values, limit, seconds(timeout))


def _refuse(statement: str, limit: int, timeout: Duration) -> None:
    faults = [f"statement: {fault}"] if (fault := fault_of_statement(statement)) else []
    if not 1 <= limit <= MOST_ROWS:
        faults.append(f"limit is a number from 1 to {MOST_ROWS}")
    try:
        if seconds(timeout) <= 0:
            faults.append("a timeout is longer than nothing")
    except InvalidSpan as wrong:
        faults.append(f"timeout: {wrong}")
    if faults:
        raise InvalidCall("; ".join(faults))


def _url(database: str) -> str:
    """The URL, or "own"; that of our tables, written out, is "own" too."""
    known = settings()
    found = known.sql_databases.get(database)
    if found is None:
        raise NotConfigured(f"no database is called {database}: the operator names those that workflows may use in sql_databases")
    url = found.get_secret_value()
    return OWN if url == known.database_url else url


def _is_elsewhere(stored: Mapping[str, Any]) -> bool:
    """Whether this call goes to a database whose commits are not ours; what is not configured needs no transaction either."""
    database = stored.get("database", "default")
    try:
        return not isinstance(database, str) or _url(database) != OWN
    except NotConfigured:
        return True


sql.spec = replace(sql.spec, elsewhere=_is_elsewhere)
registry.add_step(sql.spec)
