"""A million finished runs in the tables: what they change for the next ones.

Two databases of one server, each with its own worker, take turns, the other one first in each round: first both as good as
empty, then one of them full. What counts is how the ratio between them changes: what the machine does meanwhile is in both.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from benchmarks.costs import Meter
from benchmarks.processes import Running, side_running
from benchmarks.servers import Servers
from benchmarks.sides.catalogue import BY_NAME, OURS
from benchmarks.workloads import BY_NAME as WORKLOAD
from benchmarks.workloads import WARM_UP
from wfcelery.store.schema import metadata

MEASURED = ("W1", "W2")
CHUNK = 100_000  # runs in one transaction
FULL, KEPT_FREE = 95, 70  # percent of a page: of those that are filled here, and of the tables as they are
DAYS = 29  # over which they are spread: none of them has expired


@dataclass(frozen=True, slots=True)
class Turn:
    """One workload on the database that is filled, over the same on the one that is not."""

    workload: str
    filled: bool
    slower: float
    cpu: float
    """CPU of worker and database together."""
    wal: float


def measured(servers: Servers, folder: Path, costs: Meter, runs: int, steps: int, rounds: int) -> str:
    """The table that is printed."""
    with contextlib.ExitStack() as stack:
        sides = [
            stack.enter_context(side_running(replace(BY_NAME[OURS], name=name), servers, folder, place))
            for place, name in enumerate(("empty", "full"))
        ]
        for side in sides:
            side.measure(WARM_UP.name, WARM_UP.size)
            side.measure("W2", 50)
        before = [turn for round_ in range(rounds) for turn in _turns(costs, sides, round_, filled=False)]
        _fill(servers, sides[1].database, runs, steps)
        told = _tidied(servers, [side.database for side in sides])
        for side in sides:
            side.measure("W2", 50)
        after = [turn for round_ in range(rounds) for turn in _turns(costs, sides, round_, filled=True)]
    return f"{told}\n\n{_table(before + after)}"


def _turns(costs: Meter, sides: Sequence[Running], round_: int, filled: bool) -> Iterable[Turn]:
    for name in MEASURED:
        workload = WORKLOAD[name]
        figures: dict[str, tuple[float, float, float]] = {}
        for side in sides if round_ % 2 == 0 else reversed(sides):
            with costs.watching(side) as spent:
                found = side.measure(name, workload.size)
            each = spent[0].per_step(found.steps)
            time = 1 / found.figure if workload.more_is_better else found.figure
            figures[side.setup.name] = time, each["cpu_worker"] + each["cpu_database"], each["wal_bytes"]
            click.echo(f"round {round_ + 1}  {name}  {side.setup.name:5}  {found.figure:8.1f} {workload.unit}", err=True)
        slower, cpu, wal = (full / empty for full, empty in zip(figures["full"], figures["empty"], strict=True))
        yield Turn(name, filled, slower, cpu, wal)


def _table(turns: Sequence[Turn]) -> str:
    lines = [
        "time, CPU and WAL bytes a step: the full database over the empty one, median (least to most); and what the filling changed",
        "",
        "|  | figure | before | after | changed |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in MEASURED:
        for figure in ("slower", "cpu", "wal"):
            of_these = [turn for turn in turns if turn.workload == name]
            before, after = ([float(getattr(turn, figure)) for turn in of_these if turn.filled == filled] for filled in (False, True))
            changed = statistics.median(after) / statistics.median(before) - 1
            label = {"slower": "time", "cpu": "CPU", "wal": "WAL bytes"}[figure]
            lines.append(f"| {name} | {label} | {_spread(before)} | {_spread(after)} | {changed:+.1%} |")
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


# -- the filling --------------------------------------------------------------------------------------------------------

_AT = f"now() - interval '1 hour' - interval '{DAYS} days' * (1 - n / {{runs}}.0)"
_MS = f"lpad(to_hex((extract(epoch from {_AT}) * 1000)::bigint), 12, '0')"
# As the engine makes them, in the order of their time: the new rows of an index lie side by side.
_ID = f"({_MS} || '7' || lpad(to_hex(n % 4096), 3, '0') || '8' || lpad(to_hex({{kind}}), 3, '0') || lpad(to_hex(n), 12, '0'))::uuid"
_NEWEST = b"select id from wf_run where workflow like '%ten_in_a_row' and status = 'succeeded' order by id desc limit 1"
_SIZES = """
select relname, reltuples::bigint, pg_size_pretty(pg_total_relation_size(oid)) from pg_class
where relname in ('wf_run', 'wf_step', 'wf_history') order by relname desc
"""
_NUMBERS = "generate_series({first}, {last}) as numbers(n)"


def _fill(servers: Servers, database: str, runs: int, steps: int) -> None:
    """Copies of the newest chain that the engine itself has finished there, with so many of its steps and commits."""
    with servers.postgres.connect(database) as connection:
        # Full pages, as where their room has been used again. Left at 70 %, each would have room for one new row: these are
        # strewn over all of them, and each page is in the WAL as a whole once after a checkpoint (four times the WAL a step).
        for table in ("wf_run", "wf_step"):
            connection.execute(f"alter table {table} set (fillfactor = {FULL})".encode())
        # As a restore does: rows that are copies of sound ones are not judged once more.
        connection.execute(b"set session_replication_role = replica")
        found = connection.execute(_NEWEST).fetchone()
        assert found is not None, "the warm-up has finished chains"
        for first in range(1, runs + 1, CHUNK):
            last = min(first + CHUNK - 1, runs)
            for statement in _statements(str(found[0]), runs, steps, first, last):
                connection.execute(statement.encode())
            click.echo(f"{last} finished runs", err=True)
        for table in ("wf_run", "wf_step"):
            connection.execute(f"alter table {table} set (fillfactor = {KEPT_FREE})".encode())


def _tidied(servers: Servers, databases: Sequence[str]) -> str:
    """Both as autovacuum leaves tables sooner or later, and after one checkpoint; the size of the last."""
    for database in databases:
        servers.postgres.execute("vacuum (analyze)", database)
    servers.postgres.execute("checkpoint")
    sizes = servers.postgres.execute(_SIZES, databases[-1])
    return "; ".join(f"{name} {int(str(rows)):,} rows, {size}" for name, rows, size in sizes)


def _statements(one: str, runs: int, steps: int, first: int, last: int) -> list[str]:
    """SQL for runs, steps and history with these numbers, as copies of one run's."""
    run_id = _ID.format(kind="0", runs=runs)
    step_id = _ID.format(kind="one.place", runs=runs)
    at = _AT.format(runs=runs)
    numbers = _NUMBERS.format(first=first, last=last)
    times = dict.fromkeys(("created_at", "started_at", "ended_at", "claimed_at", "first_at", "at"), at)
    run = _copy("wf_run", {"id": run_id, "input_digest": "md5(n::text)"} | times, f"wf_run where id = '{one}'", numbers)
    some = f"wf_step where run = '{one}' order by id limit {steps}"
    step = _copy("wf_step", {"id": step_id, "run": run_id} | times, some, numbers, ", row_number() over (order by id) as place")
    told = f"wf_history where run = '{one}' order by version limit {steps}"
    return [run, step, _copy("wf_history", {"run": run_id} | times, told, numbers)]


def _copy(table: str, instead: dict[str, str], which: str, numbers: str, more: str = "") -> str:
    columns = [column.name for column in metadata.tables[table].columns]
    values = ", ".join(instead.get(column, f"one.{column}") for column in columns)
    return f"insert into {table} ({', '.join(columns)}) select {values} from {numbers}, (select *{more} from {which}) as one"
