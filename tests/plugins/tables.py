"""One suite for both databases. The tables are made once on each, by the migrations, and copied for every test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.servers.postgres import Postgres
from wfcelery.store import migrations
from wfcelery.store.database import Database
from wfcelery.store.schema import metadata


@pytest.fixture(scope="session")
def _sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "workflows.db"
    migrations.upgrade(Database(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def _postgres_template(_own_postgres: Postgres) -> str:
    name = _own_postgres.create_database()
    migrations.upgrade(Database(_own_postgres.url(name)))
    return name


@pytest.fixture
def sqlite(_sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    """A SQLite file with our tables."""
    shutil.copy(_sqlite_template, tmp_path / "workflows.db")
    database = Database(f"sqlite:///{tmp_path / 'workflows.db'}")
    yield database
    database.close()


@pytest.fixture(scope="session")
def _postgres_name(_own_postgres: Postgres, _postgres_template: str) -> str:
    return _own_postgres.create_database(_postgres_template)


def _emptied(database: Database) -> Database:
    """As the migrations left it: a new database for every test would cost half a second each."""
    with database.engine.connect() as connection:
        others = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        connection.execute(sa.text(others))
        for table in reversed(metadata.sorted_tables):
            if table.name not in ("wf_meta", "wf_sweeper"):
                connection.execute(table.delete())
        connection.execute(sa.text("update wf_meta set swept_at = null, judge_from = null, server_started_at = null"))
        connection.execute(sa.text("update wf_sweeper set owner = null, until = null"))
    return database


@pytest.fixture
def postgres(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A PostgreSQL database with our tables, empty."""
    if "WFCELERY_TEST_POSTGRES_URL" in os.environ:
        yield from _fresh_postgres(request)
        return
    server: Postgres = request.getfixturevalue("postgres_server")
    database = Database(server.url(request.getfixturevalue("_postgres_name")))
    yield _emptied(database)
    database.close()


def _fresh_postgres(request: pytest.FixtureRequest) -> Iterator[Database]:
    if "WFCELERY_TEST_POSTGRES_URL" in os.environ:
        database = Database(request.getfixturevalue("postgres_url"))
        migrations.upgrade(database)
        yield database
        database.close()
        return
    server: Postgres = request.getfixturevalue("postgres_server")
    name = server.create_database(request.getfixturevalue("_postgres_template"))
    database = Database(server.url(name))
    yield database
    database.close()
    server.ensure_running().drop_database(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    """A database with our tables; the test runs once on each kind."""
    found: Database = request.getfixturevalue("sqlite" if request.param == "sqlite" else "postgres")
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """As `database`, but nobody's before and nobody's after."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite")
    else:
        yield from _fresh_postgres(request)
