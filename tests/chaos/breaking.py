"""Faults of servers and of the way to them: restarts, terminated connections, flushed, frozen and full brokers, cuts at COMMIT."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random
from threading import Lock

import amqp
import sqlalchemy

from tests.chaos.looking import AWAY, under_way, waiting
from tests.chaos.nemesis import Nemesis, free
from tests.chaos.stack import wait_until_it_answers
from tests.servers import caretaker

BASE = 0.05  # of all commits are cut at any time; in bursts, more

# ---- the database ---------------------------------------------------------------------------------------------------


def fast_restart(nemesis: Nemesis, random: Random) -> int:
    """PostgreSQL ends all connections, stops in peace, and is away for a moment."""
    return _restart(nemesis, random, signal.SIGINT)


def immediate_restart(nemesis: Nemesis, random: Random) -> int:
    """PostgreSQL stops as in a crash."""
    return _restart(nemesis, random, signal.SIGQUIT)


def _restart(nemesis: Nemesis, random: Random, how: signal.Signals) -> int:
    postgres = nemesis.stack.postgres
    assert postgres is not None
    with free(nemesis.stack.database_lock):
        found = nemesis.something_under_way()
        if how is signal.SIGQUIT:
            nemesis.crashed()
        postgres.stop(how)
        nemesis.rest(random.uniform(0.0, 2.0))
        postgres.start()
        wait_until_it_answers(nemesis.stack)
    return len(found)


def backends(nemesis: Nemesis, random: Random) -> int:
    """Two connections a second are terminated, for a while."""
    terminate = (
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = :name and application_name like 'wfcelery%' "
        "order by (state = 'active') desc, random() limit 1"
    )
    hit = 0
    with free(nemesis.stack.database_lock):
        for _ in range(random.randint(4, 12)):
            hit += len(nemesis.something_under_way()) > 0
            with suppress(*AWAY):
                nemesis.stack.query(terminate, name=nemesis.stack.database)
            nemesis.rest(0.5)
            if nemesis.over.is_set():
                break
    return hit


def locked_run(nemesis: Nemesis, random: Random) -> int:
    """Somebody else holds the lock of a run whose step is executed, for longer than anybody waits for it."""
    found = nemesis.something_under_way()
    if not found:
        return 0
    runs = random.sample(sorted({attempt.run for attempt in found}), 1)
    with nemesis.stack.engine.connect() as connection, connection.begin():
        connection.execute(sqlalchemy.text("select id from wf_run where id = :id for no key update"), {"id": runs[0]})
        hit = [attempt for attempt in under_way(nemesis.stack) if attempt.run == runs[0]]
        nemesis.rest(random.uniform(1.0, 4.0))
    return len(hit)


def locked_file(nemesis: Nemesis, random: Random) -> int:
    """Somebody else writes to the file, and takes his time."""
    found = nemesis.something_under_way()
    link = sqlite3.connect(nemesis.stack.folder / "wfcelery.db", timeout=20, isolation_level=None)
    try:
        link.execute("begin immediate")
        nemesis.rest(random.uniform(0.5, 4.0))
        link.execute("rollback")
    finally:
        link.close()
    return len(found)


def cuts(nemesis: Nemesis, random: Random) -> int:
    """For a while many connections are cut at their COMMIT. What was cut is counted by the proxy, each cut in flight."""
    stack = nemesis.stack
    before = sum(many for way, many in stack.commits().items() if way != "commits")
    stack.tell("cutting", str(random.choice((0.1, 0.2, 0.4))))
    try:
        nemesis.rest(random.uniform(2.0, 5.0))
    finally:
        stack.tell("cutting", str(0.0 if nemesis.over.is_set() else BASE))
        time.sleep(0.5)
    return sum(many for way, many in stack.commits().items() if way != "commits") - before


# ---- brokers --------------------------------------------------------------------------------------------------------


def flush(nemesis: Nemesis, random: Random) -> int:
    """FLUSHALL: every queue and message of the Redis-compatible server gone, RabbitMQ's queue purged."""
    stack = nemesis.stack
    assert stack.valkey is not None
    with free(stack.valkey_lock):
        ready = nemesis.something_under_way(lambda: waiting(stack))
        with stack.valkey.client() as client:
            lost = int(client.llen("celery"))
            client.flushall()
        if stack.rabbit is not None:
            with suppress(OSError, amqp.exceptions.AMQPError), stack.rabbit_link() as channel:
                lost += int(channel.queue_purge("celery") or 0)
    nemesis.killed("ring", ready)
    return lost + len(ready)


def redis_kill(nemesis: Nemesis, random: Random) -> int:
    """SIGKILL of the Redis-compatible server; it is away for a while."""
    server = nemesis.stack.valkey
    assert server is not None

    def strike() -> None:
        server.kill()
        nemesis.rest(random.uniform(0.2, 5.0))
        server.start()

    return _broker(nemesis, nemesis.stack.valkey_lock, strike)


def redis_freeze(nemesis: Nemesis, random: Random) -> int:
    """SIGSTOP: it accepts connections and answers nobody."""
    server = nemesis.stack.valkey
    assert server is not None

    def strike() -> None:
        with server.paused():
            nemesis.rest(random.uniform(1.0, 6.0))

    return _broker(nemesis, nemesis.stack.valkey_lock, strike)


def redis_full(nemesis: Nemesis, random: Random) -> int:
    """It has no memory left: whatever would add to it is refused."""
    server = nemesis.stack.valkey
    assert server is not None

    def strike() -> None:
        with server.client() as client:
            client.config_set("maxmemory", "1")
            try:
                nemesis.rest(random.uniform(2.0, 6.0))
            finally:
                client.config_set("maxmemory", "0")

    return _broker(nemesis, nemesis.stack.valkey_lock, strike)


def rabbit_kill(nemesis: Nemesis, random: Random) -> int:
    """SIGKILL of the RabbitMQ node; it is away for as long as it needs to start."""
    node = nemesis.stack.rabbit
    assert node is not None

    def strike() -> None:
        node.kill()
        node.start()

    return _broker(nemesis, nemesis.stack.rabbit_lock, strike)


def rabbit_freeze(nemesis: Nemesis, random: Random) -> int:
    """SIGSTOP of the RabbitMQ node."""
    node = nemesis.stack.rabbit
    assert node is not None

    def strike() -> None:
        assert node._process is not None
        members = caretaker.session_members(node._process.pid)
        _send(members, signal.SIGSTOP)
        try:
            nemesis.rest(random.uniform(1.0, 6.0))
        finally:
            _send(members, signal.SIGCONT)

    return _broker(nemesis, nemesis.stack.rabbit_lock, strike)


def _broker(nemesis: Nemesis, lock: Lock, strike: Callable[[], None]) -> int:
    with free(lock):
        found = nemesis.something_under_way()
        strike()
    return len(found)


def _send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
