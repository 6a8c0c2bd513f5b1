"""What a cell cost beside its time: CPU and memory by group of processes, and what reached the database and the broker.

Everything is read from outside, before and after the cell; only the client's round trips are counted within (`sides.counted`).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic, sleep
from typing import Any

import psycopg
import redis

from benchmarks import trees
from benchmarks.processes import Running
from benchmarks.servers import Servers
from benchmarks.sides.counted import round_trips

SETTLING = 0.2  # seconds until what follows the last answer (acknowledgements, a last commit) is over
SAMPLING = 1.0  # seconds between two looks at the memory
GROUPS = ("worker", "client", "database", "broker")


@dataclass(frozen=True, slots=True)
class Costs:
    """Of one whole cell; `per_step` divides what adds up. No database: no counts of it."""

    cpu_ms: dict[str, float]
    memory_mb: dict[str, float]
    counts: dict[str, float]
    """Names as in COUNTS; those of the database only where the side has one."""
    other_cores: float
    """How many cores were kept busy by processes that are not of the benchmark's cell."""

    def per_step(self, steps: int) -> dict[str, float]:
        """CPU in ms by group, and each count."""
        return {f"cpu_{name}": spent / steps for name, spent in self.cpu_ms.items()} | {
            name: count / steps for name, count in self.counts.items()
        }


DATABASE_COUNTS = ("statements", "round_trips", "commits", "rows", "wal_bytes")
BROKER_COUNTS = ("messages", "broker_commands", "broker_reads")

_STATEMENTS = """
select coalesce(sum(calls), 0)::bigint from pg_stat_statements s join pg_database d on d.oid = s.dbid where d.datname = %s
"""
_WRITTEN = """
select coalesce(sum(count) filter (where "resource_manager/record_type" ~ '^Heap/(INSERT|UPDATE|HOT_UPDATE|DELETE)'), 0)::bigint,
       coalesce(sum(count) filter (where "resource_manager/record_type" like 'Transaction/COMMIT%%'), 0)::bigint
from pg_get_wal_stats(%s::pg_lsn, %s::pg_lsn, true)
"""
_PUSHES = ("lpush", "rpush")


@dataclass(slots=True)
class _Look:
    """Everything at one moment."""

    at: float
    cpu_ms: dict[str, float]
    machine_ms: float
    statements: int
    round_trips: int
    wal: str
    broker: dict[str, int]


@dataclass(slots=True)
class Meter:
    """Reads the costs of cells, on connections of its own to a database that no side uses."""

    servers: Servers
    _database: psycopg.Connection[tuple[Any, ...]]
    _broker: redis.Redis
    _memory: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def watching(self, side: Running) -> Iterator[list[Costs]]:
        """The costs of what happens inside the block: a list that gets its one member when the block ends well."""
        costs: list[Costs] = []
        self._memory = dict.fromkeys(GROUPS, 0.0)
        before, over = self._look(side), threading.Event()
        sampler = threading.Thread(target=self._sample, args=(side, over), daemon=True)
        sampler.start()
        try:
            yield costs
        finally:
            over.set()
            sampler.join()
        sleep(SETTLING)
        self._weigh(side)
        costs.append(self._between(side, before, self._look(side)))

    def _look(self, side: Running) -> _Look:
        all_ = trees.processes()
        cpu = {group: trees.cpu_ms(trees.tree(all_, roots)) for group, roots in self._roots(side).items()}
        machine, at = trees.machine_busy_ms(), monotonic()
        told = self._broker.info("everything")
        broker = {
            "messages": sum(told.get(f"cmdstat_{name}", {}).get("calls", 0) for name in _PUSHES),
            "broker_commands": told["total_commands_processed"],
            "broker_reads": told["total_reads_processed"],
        }
        (statements,) = self._one(_STATEMENTS, side.database)
        (wal,) = self._one("select pg_current_wal_flush_lsn()::text")
        return _Look(at, cpu, machine, statements, round_trips(side.round_trips), wal, broker)

    def _between(self, side: Running, before: _Look, after: _Look) -> Costs:
        cpu = {group: after.cpu_ms[group] - before.cpu_ms[group] for group in GROUPS}
        counts = {name: float(after.broker[name] - before.broker[name]) for name in BROKER_COUNTS}
        if side.setup.has_database:
            counts |= {
                "statements": after.statements - before.statements,
                **self._written(before.wal, after.wal),
            }
        if after.round_trips:  # a side that counts them has had some long before its first cell
            counts["round_trips"] = after.round_trips - before.round_trips
        others = after.machine_ms - before.machine_ms - sum(cpu.values())
        return Costs(cpu, dict(self._memory), counts, max(0.0, others / (after.at - before.at) / 1000))

    def _written(self, first: str, last: str) -> dict[str, float]:
        (size,) = self._one("select pg_wal_lsn_diff(%s::pg_lsn, %s::pg_lsn)::bigint", last, first)
        rows, commits = self._one(_WRITTEN, first, last) if size else (0, 0)
        return {"wal_bytes": size, "rows": rows, "commits": commits}

    def _sample(self, side: Running, over: threading.Event) -> None:
        while not over.wait(SAMPLING):
            self._weigh(side)

    def _weigh(self, side: Running) -> None:
        all_ = trees.processes()
        for group, roots in self._roots(side).items():
            self._memory[group] = max(self._memory[group], trees.memory_mb(trees.tree(all_, roots)))

    def _roots(self, side: Running) -> dict[str, tuple[int, ...]]:
        workers, client = tuple(worker.pid for worker in side.workers), (side.client.pid,)
        # A server that a side brings along is where it keeps what it knows.
        databases = (self.servers.postgres.pid, *(server.pid for server in side.servers))
        return dict(zip(GROUPS, (workers, client, databases, (self.servers.redis.pid,)), strict=True))

    def _one(self, statement: str, *values: object) -> tuple[Any, ...]:
        row = self._database.execute(statement.encode(), values).fetchone()
        assert row is not None
        return row


@contextlib.contextmanager
def meter(servers: Servers) -> Iterator[Meter]:
    """A meter on these servers, its connections closed at the end."""
    with servers.postgres.connect() as database, servers.redis.client() as broker:
        yield Meter(servers, database, broker)
