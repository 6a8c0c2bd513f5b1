"""W1, W2 and W3 of the benchmarks through a stock prefork worker with one child, and what they cost in whole numbers.

A real worker, since what counts is what it sends in the end, and yet nothing is left to chance: one child, so that no
two processes race for a run; only what this child and the caller send is counted, while the sweep and the lease are the
parent's; nothing is rung twice in the time that this takes; and by the app's slow clock (`tests/counts/app.py`) every group of items is a
quick one. So all numbers are exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from uuid import uuid4

import psycopg

from tests.acceptance.eventually import eventually
from tests.acceptance.monitor import Monitor
from tests.acceptance.processes import Fleet
from tests.counts.wire import Sent, Wire

CHAIN = 10
AT_ONCE = 20
WIDTHS = (100, 1_000)
WORKER = ("worker", "-P", "prefork", "-c", "1", "-l", "info", "--without-mingle", "--without-gossip", "--without-heartbeat")
SELDOM = {"WFCELERY_LEASE": "600", "WFCELERY_POLL": "200", "WFCELERY_IDLE_POLL": "600"}  # no sweep and no renewal meanwhile
TABLES = "select relname from pg_class where relkind = 'r' and relname like 'wf\\_%'"


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run costs: what the worker's child sends for it, what its start sends, what is left in the tables."""

    statements: int
    round_trips: int
    messages: int
    rows: int
    commits: int
    start_statements: int
    start_round_trips: int


NUMBERS = tuple(field.name for field in fields(Cost))


@dataclass(frozen=True, slots=True)
class Measured:
    """The cost, and of each statement of the child how often it was sent, for whoever wonders what has changed."""

    cost: Cost
    texts: Counter[str]


class Bench:
    """One worker, one caller, and everything between them and their servers in sight."""

    def __init__(self, fleet: Fleet, wire: Wire, monitor: Monitor, database: psycopg.Connection) -> None:
        self._fleet, self._wire, self._monitor, self._database = fleet, wire, monitor, database
        self._child = fleet.processes[0].children()[0]
        self._caller = int(fleet.shell("__import__('os').getpid()"))

    def chains(self, at_once: int) -> Measured:
        """Chains of ten, begun together; the cost of one."""
        return self._measured([f"ten_in_a_row.bind({number})" for number in range(at_once)], list(range(CHAIN, CHAIN + at_once)))

    def fan(self, width: int) -> Measured:
        """One step, so many items, one step."""
        return self._measured([f"out_and_in.bind({width})"], [width * (width + 1) // 2])

    def warm_up(self) -> None:
        """Until every statement is prepared and every plan is known."""
        for _ in range(3):
            self.chains(2)
        for width in (*WIDTHS, *WIDTHS):
            self.fan(width)

    def all(self) -> dict[str, Measured]:
        """Every workload by its name."""
        found = {"W1": self.chains(1), "W2": self.chains(AT_ONCE)}
        return found | {f"W3_{width}": self.fan(width) for width in WIDTHS}

    def _measured(self, bound: list[str], answers: list[int]) -> Measured:
        child, caller, messages, rows = self._sent(self._child), self._sent(self._caller), self._messages(), self._rows()
        runs = self._fleet.shell(f"[start_workflow(each).id for each in [{', '.join(bound)}]]")
        started = self._sent(self._caller)
        eventually(lambda: self._ended(runs), within=60, what="all runs have succeeded", explain=self._fleet.processes[0].tail)
        self._settle()
        worked, left = self._sent(self._child), self._rows()
        assert [self._fleet.result(run) for run in runs] == answers
        left.subtract(rows)
        totals = Cost(
            statements=(worked.statements - child.statements).total(),
            round_trips=worked.round_trips - child.round_trips,
            messages=self._messages() - messages,
            rows=left.total(),
            commits=left["wf_history"],
            start_statements=(started.statements - caller.statements).total(),
            start_round_trips=started.round_trips - caller.round_trips,
        )
        return Measured(_of_one(totals, len(runs)), worked.statements - child.statements)

    def _sent(self, pid: int) -> Sent:
        return self._wire.sent_by(pid)

    def _rows(self) -> Counter[str]:
        tables = [table for (table,) in self._database.execute(TABLES)]
        counts = " union all ".join(f"select '{table}', count(*) from {table}" for table in tables)
        return Counter({str(table): int(many) for table, many in self._database.execute(counts.encode())})

    def _ended(self, runs: list[str]) -> bool:
        row = self._database.execute("select count(*) from wf_run where id::text = any(%s) and status = 'succeeded'", [runs]).fetchone()
        return row == (len(runs),)

    def _messages(self) -> int:
        return sum(message.task.startswith("wfcelery.") for message in self._monitor.messages())

    def _settle(self) -> None:
        """Until what the runs have left behind in the broker is worked off too: the child comes to an ordinary task."""
        word = str(uuid4())
        self._fleet.shell(f"mark.delay({word!r}).id")
        eventually(lambda: word in self._fleet.effects.keys("mark"), within=60, what="the child has come to the mark")


def _of_one(totals: Cost, runs: int) -> Cost:
    """Of one run, rounded up: one statement more in all is seen."""
    return Cost(**{name: -(-getattr(totals, name) // runs) for name in NUMBERS})


@contextmanager
def bench(database_url: str, broker_url: str, folder: Path) -> Iterator[Bench]:
    """A bench on an empty database of PostgreSQL and an empty database of Redis."""
    wire = Wire(database_url)
    environment = {"WFCELERY_RUN_AHEAD": "60", "WFCELERY_RING_AGAIN": "600", **SELDOM}
    fleet = Fleet(folder, app="tests.counts.app", database_url=wire.url, broker_url=broker_url, environment=environment)
    address = database_url.replace("postgresql+psycopg://", "postgresql://", 1)
    with ExitStack() as ends:
        ends.callback(wire.close)
        ends.callback(fleet.close)
        fleet.upgrade()
        fleet.ready(fleet.celery("worker", *WORKER, ready=" ready."))
        monitor = ends.enter_context(closing(Monitor(broker_url)))
        made = Bench(fleet, wire, monitor, ends.enter_context(psycopg.connect(address, autocommit=True)))
        made.warm_up()
        yield made
