"""One, two, four, eight workers on one database: what a step costs it, how many connections they hold, what these wait for.

On a few cores more workers do not carry out more steps; what this looks for is what each step costs more because of them.
"""

from __future__ import annotations

import contextlib
import statistics
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click

from benchmarks.costs import Meter
from benchmarks.processes import Running, side_running
from benchmarks.servers import Servers
from benchmarks.sides.catalogue import BY_NAME, OURS, Setup
from benchmarks.workloads import BY_NAME as WORKLOAD
from benchmarks.workloads import WARM_UP

LOOKING = 0.005  # seconds between two looks at what the database's backends do
COUNTS = ("statements", "commits", "rows", "wal_bytes", "messages")
WAITS = {"Lock": "a row's lock", "LWLock": "a lock of the server", "IO": "the disk"}

_BUSY = """
select coalesce(wait_event_type, 'CPU') from pg_stat_activity
where datname = %s and state = 'active' and pid <> pg_backend_pid() and backend_type = 'client backend'
"""
_WRITTEN = """
select relname, n_tup_ins, n_tup_upd, n_tup_hot_upd, autovacuum_count,
       pg_size_pretty(pg_indexes_size(relid)), pg_size_pretty(pg_relation_size(relid))
from pg_stat_user_tables where relname in ('wf_run', 'wf_step', 'wf_history') order by relname
"""
_CONNECTIONS = "select count(*) from pg_stat_activity where datname = %s and backend_type = 'client backend'"


@dataclass(frozen=True, slots=True)
class Row:
    """One workload with so many workers."""

    workload: str
    workers: int
    per_second: float
    per_step: Mapping[str, float]
    waits: Mapping[str, int]
    connections: int


def measured(servers: Servers, folder: Path, costs: Meter, numbers: Sequence[int], rounds: int, sizes: Mapping[str, int]) -> str:
    """The tables that are printed."""
    rows: list[Row] = []
    written = ""
    # One fleet after another: what idles beside a fleet would be counted with it.
    for place, number in enumerate(numbers):
        with side_running(_fleet_of(number), servers, folder, place) as side:
            side.measure(WARM_UP.name, WARM_UP.size)
            for name, size in sizes.items():
                side.measure(name, size)  # every child has its connections, and its statements prepared
                rows += [_row(servers, costs, side, number, name, size) for _ in range(rounds)]
            written = _updates(servers, side.database)
    return "\n\n".join([*(_table(name, [row for row in rows if row.workload == name]) for name in sizes), written])


def _updates(servers: Servers, database: str) -> str:
    """What the last fleet has written, by table: an update that is not HOT writes to the indexes too."""
    lines = ["rows written by the last fleet", "", "| table | inserts | updates | of these HOT | autovacuums | indexes | rows |"]
    lines.append("| --- " * 7 + "|")
    servers.postgres.execute("select pg_stat_force_next_flush()", database)
    for name, inserts, updates, hot, vacuums, indexes, size in servers.postgres.execute(_WRITTEN, database):
        share = f"{int(str(hot)) / int(str(updates)):.0%}" if updates else "-"
        lines.append(f"| {name} | {inserts} | {updates} | {share} | {vacuums} | {indexes} | {size} |")
    return "\n".join(lines)


def _fleet_of(number: int) -> Setup:
    ours = BY_NAME[OURS]
    (command,) = ours.workers
    return replace(ours, name=f"fleet_{number}", workers=tuple((*command, "-n", f"w{place}@%h") for place in range(number)))


def _row(servers: Servers, costs: Meter, side: Running, number: int, name: str, size: int) -> Row:
    with costs.watching(side) as spent, _watched(servers, side.database) as waits:
        found = side.measure(name, size)
    workload = WORKLOAD[name]
    per_second = found.figure if workload.more_is_better else found.steps / found.figure
    (connections,) = servers.postgres.execute(_CONNECTIONS.replace("%s", f"'{side.database}'"))[0]
    row = Row(name, number, per_second, spent[0].per_step(found.steps), dict(waits), int(str(connections)))
    click.echo(f"{number} workers  {name}  {per_second:.0f} steps/s", err=True)
    return row


@contextlib.contextmanager
def _watched(servers: Servers, database: str) -> Iterator[Counter[str]]:
    """What busy backends were seen waiting for meanwhile, and how often; `CPU`: for nothing."""
    seen: Counter[str] = Counter()
    over = threading.Event()

    def look() -> None:
        with servers.postgres.connect() as connection:
            while not over.wait(LOOKING):
                seen.update(str(row[0]) for row in connection.execute(_BUSY.encode(), (database,)))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _table(name: str, rows: Sequence[Row]) -> str:
    head = ["workers", "steps/s", "CPU ms, workers", "CPU ms, database", *(count.replace("_", " ") for count in COUNTS)]
    head += ["connections", *(f"waits for {what}" for what in WAITS.values())]
    lines = [f"{name}: each step's share", "", "| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    for number in dict.fromkeys(row.workers for row in rows):
        of_these = [row for row in rows if row.workers == number]
        cells = [f"{number}", f"{statistics.median(row.per_second for row in of_these):.0f}"]
        for count in ("cpu_worker", "cpu_database"):
            cells.append(f"{_median(of_these, count):.2f}")
        for count in COUNTS:
            cells.append(f"{_median(of_these, count):,.2f}" if count != "wal_bytes" else f"{_median(of_these, count):,.0f}")
        cells.append(str(max(row.connections for row in of_these)))
        busy = sum(sum(row.waits.values()) for row in of_these)
        cells += [f"{sum(row.waits.get(kind, 0) for row in of_these) / busy:.0%}" if busy else "-" for kind in WAITS]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _median(rows: Sequence[Row], name: str) -> float:
    return statistics.median(row.per_step[name] for row in rows)
