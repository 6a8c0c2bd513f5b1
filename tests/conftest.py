"""The servers and databases that any test may ask for.

A server is started when the first test wants it, and lives as long as the tests do; a test that stops or kills
one finds and leaves it to the next, which starts it again. Where an environment variable names a server, that
one is used, and tests that would have to kill it are skipped:
WFCELERY_TEST_POSTGRES_URL, WFCELERY_TEST_REDIS_URL, WFCELERY_TEST_RABBITMQ_URL.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import redis
from hypothesis import HealthCheck, settings

from tests.servers.postgres import Postgres
from tests.servers.rabbitmq import RabbitMQ, find_server
from tests.servers.valkey import Valkey

pytest_plugins = ["pytester", "tests.plugins.databases", "tests.plugins.long", "tests.plugins.promises", "tests.plugins.tables"]

settings.register_profile("check", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", deadline=None, max_examples=5_000, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "check"))


@pytest.fixture(scope="session")
def _own_postgres() -> Iterator[Postgres]:
    server = Postgres().start()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def postgres_server(request: pytest.FixtureRequest) -> Postgres:
    """The tests' PostgreSQL, running; a test may stop, kill and restart it."""
    if "WFCELERY_TEST_POSTGRES_URL" in os.environ:
        pytest.skip("WFCELERY_TEST_POSTGRES_URL names a server that is not ours to stop")
    server: Postgres = request.getfixturevalue("_own_postgres")
    return server.ensure_running()


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty PostgreSQL database of this test's own."""
    given = os.environ.get("WFCELERY_TEST_POSTGRES_URL")
    if given is not None:
        yield from database_on(given)
        return
    server: Postgres = request.getfixturevalue("postgres_server")
    name = server.create_database()
    yield server.url(name)
    server.ensure_running().drop_database(name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite file of this test's own, not made yet."""
    return f"sqlite:///{tmp_path / 'workflows.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database; the test runs once on each kind."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture(scope="session")
def _own_valkey() -> Iterator[Valkey]:
    server = Valkey().start()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def redis_server(request: pytest.FixtureRequest) -> Valkey:
    """The tests' Redis-compatible server, running; a test may flush, pause, stop and kill it."""
    if "WFCELERY_TEST_REDIS_URL" in os.environ:
        pytest.skip("WFCELERY_TEST_REDIS_URL names a server that is not ours to stop")
    server: Valkey = request.getfixturevalue("_own_valkey")
    return server.ensure_running()


@pytest.fixture
def redis_url(request: pytest.FixtureRequest) -> str:
    """An empty Redis database of this test's own."""
    given = os.environ.get("WFCELERY_TEST_REDIS_URL")
    if given is not None:
        with redis.Redis.from_url(given) as client:
            client.flushdb()
        return given
    server: Valkey = request.getfixturevalue("redis_server")
    return server.fresh_url()


@pytest.fixture(scope="session")
def _own_rabbitmq() -> Iterator[RabbitMQ]:
    script = find_server()
    if script is None:
        pytest.skip("no rabbitmq-server on this machine, and WFCELERY_TEST_RABBITMQ_URL names none")
    server = RabbitMQ(script).start()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def rabbitmq_server(request: pytest.FixtureRequest) -> RabbitMQ:
    """The tests' RabbitMQ node, running."""
    server: RabbitMQ = request.getfixturevalue("_own_rabbitmq")
    return server.ensure_running()


@pytest.fixture
def rabbitmq_url(request: pytest.FixtureRequest) -> str:
    """A RabbitMQ host; its queues are shared by the tests that ask for it."""
    given = os.environ.get("WFCELERY_TEST_RABBITMQ_URL")
    if given is not None:
        return given
    server: RabbitMQ = request.getfixturevalue("rabbitmq_server")
    return server.url()


def database_on(url: str) -> Iterator[str]:
    """A database of our own on somebody else's server."""
    name = f"wf_{uuid4().hex[:12]}"
    address = url.replace("postgresql+psycopg://", "postgresql://", 1)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f'create database "{name}"'.encode())
        before, _, _ = address.partition("?")[0].rpartition("/")
        yield f"{before}/{name}".replace("postgresql://", "postgresql+psycopg://", 1)
        connection.execute(f'drop database if exists "{name}" with (force)'.encode())
