"""Databases with our tables, and this process's context on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from wfcelery.service import context
from wfcelery.service.context import Context, configure
from wfcelery.settings import Settings
from wfcelery.store import migrations
from wfcelery.store.database import Database


@contextmanager
def _speaking_to(database: Database) -> Iterator[Database]:
    before = context._make, context._current
    configure(lambda: Context(database, Settings(), rings=False))
    yield database
    context._make, context._current = before


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """On each kind of database; `start_workflow` speaks to it."""
    made = Database(database_url)
    migrations.upgrade(made)
    with _speaking_to(made):
        yield made
    made.close()


@pytest.fixture(scope="module")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path_factory.mktemp('bad') / 'workflows.db'}")
    migrations.upgrade(made)
    yield made
    made.close()


@pytest.fixture
def sqlite_database(_shared: Database) -> Iterator[Database]:
    """On SQLite alone, shared by a module's tests, for what never reaches a database."""
    with _speaking_to(_shared):
        yield _shared
