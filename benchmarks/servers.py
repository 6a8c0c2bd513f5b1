"""The tests' own PostgreSQL and Redis-compatible server, both durable, gone when the benchmark ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from tests.servers.postgres import Postgres
from tests.servers.valkey import Valkey

# The counting that many a production server does too, and enough old WAL to read what a cell has written.
COUNTING = {
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track_utility": "off",
    "wal_keep_size": "1GB",
    "max_wal_size": "4GB",
}


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they listen, and what they say of themselves."""

    postgres: Postgres
    redis: Valkey
    facts: dict[str, str]


@contextlib.contextmanager
def durable_servers() -> Iterator[Servers]:
    with contextlib.closing(Postgres(**COUNTING).start()) as postgres, contextlib.closing(Valkey().start()) as redis:
        for extension in ("pg_stat_statements", "pg_walinspect"):
            postgres.execute(f"create extension {extension}")
        with redis.client() as client:
            # What people run: a sync a second. With a sync a command, which the tests use, raw Celery would be slower by far.
            client.config_set("appendfsync", "everysec")
        yield Servers(postgres, redis, _facts(postgres, redis))


def _facts(postgres: Postgres, redis: Valkey) -> dict[str, str]:
    names = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
    facts = {name: str(postgres.execute(f"show {name}")[0][0]) for name in names}
    with redis.client() as client:
        told = client.config_get("append[of]*")
    return facts | {name: str(told[name]) for name in ("appendonly", "appendfsync")}
