"""The tests' own PostgreSQL and Redis-compatible server, both durable, gone when the benchmark ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from tests.servers.postgres import Postgres
from tests.servers.valkey import Valkey


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they listen, and what they say of themselves."""

    postgres: Postgres
    redis: Valkey
    facts: dict[str, str]


@contextlib.contextmanager
def durable_servers() -> Iterator[Servers]:
    with contextlib.closing(Postgres().start()) as postgres, contextlib.closing(Valkey().start()) as redis:
        with redis.client() as client:
            # What people run: a sync a second. With a sync a command, which the tests use, raw Celery would be slower by far.
            client.config_set("appendfsync", "everysec")
        yield Servers(postgres, redis, _facts(postgres, redis))


def _facts(postgres: Postgres, redis: Valkey) -> dict[str, str]:
    facts = {name: str(postgres.execute(f"show {name}")[0][0]) for name in ("server_version", "fsync", "synchronous_commit")}
    with redis.client() as client:
        told = client.config_get("append[of]*")
    return facts | {name: str(told[name]) for name in ("appendonly", "appendfsync")}
