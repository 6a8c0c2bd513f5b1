"""What stands in the tables, to see that bad input changed nothing."""

from __future__ import annotations

from tests.store.rows import look
from wfcelery.store.database import Database

TABLES = ("wf_definition", "wf_run", "wf_step", "wf_history", "wf_inbox", "wf_wait", "wf_dead_letter", "wf_idempotency", "wf_schedule")


def counted(database: Database) -> dict[str, int]:
    """How many rows each table has."""
    return {table: int(look(database, f"select count(*) from {table}")[0][0]) for table in TABLES}


def everything(database: Database) -> dict[str, list[str]]:
    """Every row of every table."""
    return {table: sorted(map(repr, look(database, f"select * from {table}"))) for table in TABLES}
