"""A fleet for each test or for a module of tests; the logs of its processes are part of a failure's report."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.effects import Effects
from tests.acceptance.processes import Fleet
from tests.conftest import database_on
from tests.servers.postgres import Postgres
from tests.servers.valkey import Valkey

_fleets = pytest.StashKey[list[Fleet]]()


@pytest.fixture
def make_fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """`make_fleet(database_url=…, broker_url=…, app=…, environment=…)`."""
    made = request.node.stash.setdefault(_fleets, [])

    def make(*, kind: type[Fleet] = Fleet, **wishes: Any) -> Fleet:
        folder = tmp_path / f"fleet-{len(made) + 1}"
        folder.mkdir()
        fleet = kind(folder, **wishes)
        made.append(fleet)
        return fleet

    yield make
    for fleet in made:
        fleet.close()


@pytest.fixture(scope="module")
def make_shared_fleet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Fleet]]:
    """`make_shared_fleet(environment=…)`: for tests that do no harm to its processes. PostgreSQL and Redis, tables made."""
    with ExitStack() as ends:

        def make(*, kind: type[Fleet] = Fleet, **wishes: Any) -> Fleet:
            folder = tmp_path_factory.mktemp("fleet")
            fleet = kind(folder, **{"database_url": _a_database(request, ends), "broker_url": _a_broker(request), **wishes})
            ends.callback(fleet.close)
            request.node.stash.setdefault(_fleets, []).append(fleet)
            return fleet.upgrade()

        yield make


def _a_database(request: pytest.FixtureRequest, ends: ExitStack) -> str:
    given = os.environ.get("WFCELERY_TEST_POSTGRES_URL")
    if given is not None:
        database = contextmanager(database_on)(given)
        return ends.enter_context(database)
    server: Postgres = request.getfixturevalue("_own_postgres").ensure_running()
    name = server.create_database()
    ends.callback(lambda: server.ensure_running().drop_database(name))
    return server.url(name)


def _a_broker(request: pytest.FixtureRequest) -> str:
    given = os.environ.get("WFCELERY_TEST_REDIS_URL")
    if given is not None:
        return given
    server: Valkey = request.getfixturevalue("_own_valkey").ensure_running()
    return server.fresh_url()


@pytest.fixture
def fleet(make_fleet: Callable[..., Fleet], postgres_url: str, redis_url: str) -> Fleet:
    """A fleet on PostgreSQL and the Redis-compatible server, no process started yet."""
    return make_fleet(database_url=postgres_url, broker_url=redis_url).upgrade()


@pytest.fixture
def effects(fleet: Fleet) -> Effects:
    """What the steps of the fleet did."""
    return fleet.effects


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        module = item.getparent(pytest.Module)
        shared = module.stash.get(_fleets, []) if module is not None else []
        for fleet in [*item.stash.get(_fleets, []), *shared]:
            report.sections += [(f"log of {name}", log) for name, log in fleet.logs().items()]
    return report
