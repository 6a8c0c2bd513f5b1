"""Faults of the ways to the database and of its sessions: black holes, slow and half-open links, idle sessions, too many of them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from random import Random

import psycopg
import sqlalchemy

from tests.chaos.looking import AWAY
from tests.chaos.nemesis import Nemesis, free
from tests.chaos.stack import LEASE
from tests.servers.postgres import Postgres

SEEN = 0.5  # seconds after which the proxy has obeyed and told


def black_hole(nemesis: Nemesis, random: Random) -> int:
    """Nothing comes through, and nobody is told; then all goes on, or all who waited have lost their connection."""
    with _weather(nemesis, "hole") as felt:
        nemesis.something_under_way()
        nemesis.rest(random.uniform(1.0, 2.0 * LEASE))
        nemesis.stack.tell("weather", random.choice(("clear", "cut")))
        time.sleep(SEEN)
    return felt["hole"]


def slow_links(nemesis: Nemesis, random: Random) -> int:
    """Each message to the database takes its time."""
    with _weather(nemesis, f"slow {random.uniform(0.02, 0.15):.3f}") as felt:
        nemesis.rest(random.uniform(3.0, 8.0))
    return felt["slow"]


def half_open(nemesis: Nemesis, random: Random) -> int:
    """Whoever has a transaction open is cut off, and the server, which holds his locks, learns of it seconds later.

    Not every moment has an open transaction: it is tried for a while.
    """
    hit = 0
    for _ in range(random.randint(5, 12)):
        with _weather(nemesis, f"half_open {random.uniform(1.0, 2.0 * LEASE):.3f}") as felt:
            nemesis.rest(0.3)
        hit += felt["half_open"]
        if nemesis.over.is_set():
            break
    return hit


def idle_session(nemesis: Nemesis, random: Random) -> int:
    """Somebody opened a transaction, looked at everything, and went to lunch: the snapshot stays."""
    found = nemesis.something_under_way()
    with suppress(*AWAY), nemesis.stack.engine.connect() as connection, connection.begin():
        connection.execute(sqlalchemy.text("set transaction isolation level repeatable read"))
        for table in ("wf_run", "wf_step", "wf_history", "wf_worker"):
            connection.execute(sqlalchemy.text(f"select count(*) from {table}"))
        nemesis.rest(random.uniform(5.0, 15.0))
        return len(found)
    return 0


def crowded(nemesis: Nemesis, random: Random) -> int:
    """Others take every connection that the server has left. Counted are the connections that it refused to workers and clients."""
    postgres = nemesis.stack.postgres
    assert postgres is not None
    with free(nemesis.stack.database_lock):
        before = nemesis.stack.felt()["too_many"]
        with ExitStack() as others:
            _take_all(nemesis, postgres, others)
            until = time.monotonic() + random.uniform(2.0, 5.0)
            while time.monotonic() < until and not nemesis.over.is_set():
                _take_all(nemesis, postgres, others)  # what somebody gave back
                nemesis.rest(0.1)
        time.sleep(SEEN)
        return nemesis.stack.felt()["too_many"] - before


def _take_all(nemesis: Nemesis, postgres: Postgres, others: ExitStack) -> None:
    with suppress(psycopg.OperationalError):
        while not nemesis.over.is_set():
            others.enter_context(postgres.connect())


@contextmanager
def _weather(nemesis: Nemesis, said: str) -> Iterator[Counter[str]]:
    """This weather, and afterwards how often each kind was felt meanwhile. One weather at a time."""
    stack, felt = nemesis.stack, Counter[str]()
    with free(stack.weather_lock):
        before = stack.felt()
        stack.tell("weather", said)
        try:
            yield felt
        finally:
            stack.tell("weather", "clear")
            time.sleep(SEEN)
        felt.update(stack.felt() - before)
