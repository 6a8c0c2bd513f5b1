"""The wheel, an environment with it, and a folder, database and broker for each team; the logs of a team are part of a failure."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
import redis

from tests.acceptance.adopt.teams import Team, build_wheel, make_environment
from tests.acceptance.processes import Fleet
from tests.conftest import database_on
from tests.servers.postgres import Postgres
from tests.servers.valkey import Valkey


@pytest.fixture(scope="session")
def wheels_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The python of an environment in which the built wheel is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    return make_environment(folder / "venv", build_wheel(folder))


@pytest.fixture(scope="module")
def new_database(request: pytest.FixtureRequest) -> Iterator[Callable[[], str]]:
    """`new_database()`: the URL of an empty database that lives as long as the module's tests."""
    given = os.environ.get("WFCELERY_TEST_POSTGRES_URL")
    undo: list[Callable[[], object]] = []

    def make() -> str:
        if given is not None:
            lasting = database_on(given)
            undo.append(lambda: list(lasting))
            return next(lasting)
        server: Postgres = request.getfixturevalue("_own_postgres").ensure_running()
        name = server.create_database()
        undo.append(lambda: server.ensure_running().drop_database(name))
        return server.url(name)

    yield make
    for each in undo:
        each()


@pytest.fixture(scope="module")
def broker_url(request: pytest.FixtureRequest) -> str:
    """An empty Redis database of the module's own."""
    given = os.environ.get("WFCELERY_TEST_REDIS_URL")
    if given is not None:
        with redis.Redis.from_url(given) as client:
            client.flushdb()
        return given
    server: Valkey = request.getfixturevalue("_own_valkey")
    return server.ensure_running().fresh_url()


@pytest.fixture(scope="module")
def make_fleet(
    tmp_path_factory: pytest.TempPathFactory, wheels_python: Path, new_database: Callable[[], str], broker_url: str
) -> Iterator[Callable[[str], Fleet]]:
    """`make_fleet(app)`: processes in a folder of their own, where nothing but the project says which database there is."""
    made: list[Fleet] = []

    def make(app: str) -> Fleet:
        folder = tmp_path_factory.mktemp("team")
        fleet = Fleet(folder, app=app, database_url=new_database(), broker_url=broker_url, python=wheels_python, path=folder)
        del fleet.environment["WFCELERY_DATABASE_URL"]
        made.append(fleet)
        return fleet

    yield make
    for fleet in made:
        fleet.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for team in getattr(item, "funcargs", {}).values():
            if isinstance(team, Team):
                report.sections += [(f"log of {name}", log) for name, log in team.fleet.logs().items()]
    return report
