"""Many runs that look like one which the engine itself brought to sleep, made by SQL."""

from __future__ import annotations

from uuid import UUID

from tests.store.rows import change
from wfcelery.store.database import Database
from wfcelery.store.schema import metadata


def numbers(database: Database, many: int) -> str:
    """SQL for the numbers from 1 to so many, as `numbers(n)`."""
    if database.dialect == "postgresql":
        return f"generate_series(1, {many}) as numbers(n)"
    return f"(with recursive up(n) as (select 1 union all select n + 1 from up where n < {many}) select n from up) as numbers"


def nth(database: Database, kind: int) -> str:
    """SQL for the id of the n-th row of a kind."""
    if database.dialect == "postgresql":
        return f"(lpad(to_hex({kind}), 8, '0') || '-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid"
    return f"printf('%08x00007000%s%012x', {kind}, '8000', n)"


def copy(database: Database, many: int, table: str, run: UUID, /, **instead: str) -> None:
    """So many copies of the row of this run; `instead` of what they would share, SQL of their own."""
    name = "id" if table == "wf_run" else "run"
    columns = [column.name for column in metadata.tables[table].columns]
    values = ", ".join(instead.get(column, f"one.{column}") for column in columns)
    one = f"(select * from {table} where {name} = :it) as one"
    change(database, f"insert into {table} ({', '.join(columns)}) select {values} from {one}, {numbers(database, many)}", it=run)


def sleepers_like(database: Database, many: int, run: UUID, due_at: str) -> None:
    """So many runs more that sleep as this one does."""
    runs, steps, waits = (nth(database, kind) for kind in (1, 2, 3))
    copy(database, many, "wf_run", run, id=runs)
    copy(database, many, "wf_step", run, id=steps, run=runs)
    copy(database, many, "wf_wait", run, id=waits, run=runs, step=steps, due_at=due_at)
    copy(database, many, "wf_history", run, run=runs)
