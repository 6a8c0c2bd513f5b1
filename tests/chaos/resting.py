"""Whether anything is left when all has come to rest: messages, sessions, locks, processes."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import amqp
import redis

from tests.acceptance.processes import Process
from tests.chaos.stack import FAST, Member, Stack
from tests.servers import caretaker

WITHIN = 30.0  # seconds in which workers take what is still in the queues, and in which they stop when asked
ATTENTIVE = "select count(*) from pg_stat_activity where datname = :name and application_name like 'wfcelery%' and "


def what_is_left(stack: Stack, healed_at: float) -> dict[str, int]:
    """Stop beats, let workers empty the queues, stop workers; what there is still, by what it is."""
    for beat in (member for member in stack.members if member.role == "beat"):
        beat.wanted = False
        if beat.process.alive:
            beat.process.kill_all()
    _until(lambda: not any(carried(stack, healed_at).values()))
    found = carried(stack, healed_at)
    found |= stop(stack.workers())
    if stack.client is not None:
        stack.client.close()
    _until(lambda: not any(held(stack).values()))
    return found | held(stack)


def stop(members: Sequence[Member]) -> dict[str, int]:
    """Ask workers to stop; who did not, and what outlived him."""
    for member in members:
        member.wanted = False
        if member.process.alive:
            member.process.kill(signal.SIGTERM)
    found: dict[str, int] = {}
    for member in members:
        found |= _ended(member.process)
        member.process.close()
    return found


def _ended(process: Process) -> dict[str, int]:
    _until(lambda: not process.alive)
    if process.alive:
        return {f"worker {process.name} after SIGTERM": 1}
    _until(lambda: not caretaker.session_members(process.pid), 5.0)
    return {f"processes of worker {process.name}": len(caretaker.session_members(process.pid))}


def carried(stack: Stack, healed_at: float) -> dict[str, int]:
    """Messages that nobody has taken, or nobody has acknowledged.

    What was delivered to a worker that was killed then stays unacknowledged until kombu's hour is over, so only what was
    delivered since the faults counts.
    """
    found: dict[str, int] = {}
    if stack.valkey is not None:
        with stack.valkey.client() as client:
            for key in client.scan_iter():
                name, kind = key.decode(), client.type(key)
                if kind == b"list":
                    found[f"messages in {name}"] = int(client.llen(key))
                elif name == "unacked_index":
                    since = [when for _, when in client.zrange(key, 0, -1, withscores=True) if _right(when) > healed_at]
                    found["messages unacknowledged"] = len(since)
    if stack.rabbit is not None:
        with suppress(OSError, amqp.exceptions.AMQPError), stack.rabbit_link() as channel:
            found["messages in RabbitMQ"] = int(channel.queue_declare("celery", passive=True).message_count)
    return found


def _right(when: float) -> float:
    """A moment as a worker noted it, by a clock that is right or an hour fast."""
    return when - FAST if when > time.time() + FAST / 2 else when


def held(stack: Stack) -> dict[str, int]:
    """Sessions of the database whose process has ended, and locks."""
    if not stack.production:
        return {}
    [(sessions,)] = stack.query(ATTENTIVE + "true", name=stack.database)
    [(idle,)] = stack.query(ATTENTIVE + "state like 'idle in transaction%'", name=stack.database)
    [(waiting,)] = stack.query("select count(*) from pg_locks where not granted")
    [(advisory,)] = stack.query("select count(*) from pg_locks where locktype = 'advisory'")
    return {"sessions": sessions, "sessions idle in transaction": idle, "locks waited for": waiting, "advisory locks": advisory}


def _until(holds: Callable[[], bool], within: float = WITHIN) -> None:
    deadline = time.monotonic() + within
    with suppress(redis.exceptions.RedisError):
        while not holds() and time.monotonic() < deadline:
            time.sleep(0.1)
