"""Faults of what lies in the queues: messages reordered and late, a Redis that comes back without its data."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import Any

import redis

from tests.chaos.nemesis import Missed, Nemesis, free

QUEUE = "celery"
# As scripts, so that whoever listens to the server can tell a message that comes back from a new one.
PUT = "return redis.call('lpush', KEYS[1], unpack(ARGV))"
REVERSE = """
local all = redis.call('lrange', KEYS[1], 0, -1)
redis.call('del', KEYS[1])
for _, message in ipairs(all) do redis.call('lpush', KEYS[1], message) end
return #all
"""


def reordered(nemesis: Nemesis, random: Random) -> int:
    """For a while, whatever waits in the queue is turned round again and again. Counted is the longest queue that was."""
    hit = 0
    for client in _looks(nemesis, random.uniform(3.0, 6.0)):
        many = int(client.eval(REVERSE, 1, QUEUE))
        hit = max(hit, many if many > 1 else 0)
    return hit


def delayed(nemesis: Nemesis, random: Random) -> int:
    """Messages are taken out of the queue as they come, and put back seconds later, in any order."""
    held: list[bytes] = []
    try:
        for client in _looks(nemesis, random.uniform(2.0, 4.0)):
            while (message := client.rpop(QUEUE)) is not None:
                held.append(message)
        nemesis.rest(random.uniform(0.5, 3.0))
    finally:
        random.shuffle(held)
        if held:
            _put_back(nemesis, held)
    return len(held)


def wiped(nemesis: Nemesis, random: Random) -> int:
    """Redis hangs, with all who wait for it; then it is killed, and comes back with nothing."""
    server = nemesis.stack.valkey
    assert server is not None
    with free(nemesis.stack.valkey_lock):
        found = nemesis.something_under_way()
        os.kill(server.pid, signal.SIGSTOP)
        nemesis.rest(random.uniform(0.5, 2.0))
        server.kill()
        nemesis.rest(random.uniform(0.0, 2.0))
        shutil.rmtree(server.log.parent / "appendonlydir")
        server.start()
    return len(found)


def _looks(nemesis: Nemesis, seconds: float) -> Iterator[Any]:
    """A client of the Redis-compatible server, again and again for so long. Raises Missed when the server goes away."""
    server = nemesis.stack.valkey
    assert server is not None
    until = time.monotonic() + seconds
    try:
        with server.client() as client:
            while time.monotonic() < until and not nemesis.over.is_set():
                yield client
                time.sleep(0.01)
    except redis.exceptions.RedisError as away:
        raise Missed from away


def _put_back(nemesis: Nemesis, held: list[bytes]) -> None:
    server = nemesis.stack.valkey
    assert server is not None
    with suppress(redis.exceptions.RedisError), server.client() as client:  # if it is away, they are lost: that happens too
        client.eval(PUT, 1, QUEUE, *held)
