"""Databases with a `wfcelery dev` on them, and without."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.cli.command_line import Cli, start_dev
from wfcelery.service import context
from wfcelery.store import migrations
from wfcelery.store.database import Database


@pytest.fixture(autouse=True)
def _own_context() -> Iterator[None]:
    """What a command chose is forgotten."""
    before = context._make, context._current
    variable = os.environ.get("WFCELERY_DATABASE_URL")
    yield
    context._make, context._current = before
    if variable is None:
        os.environ.pop("WFCELERY_DATABASE_URL", None)
    else:
        os.environ["WFCELERY_DATABASE_URL"] = variable


@pytest.fixture
def empty(sqlite_url: str) -> Iterator[Cli]:
    """The command line on a database that nobody works on."""
    database = Database(sqlite_url)
    migrations.upgrade(database)
    yield Cli(sqlite_url)
    database.close()


@pytest.fixture(scope="module")
def dev_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with a `wfcelery dev` on it, shared by the tests of a module."""
    folder = tmp_path_factory.mktemp("dev")
    url = f"sqlite:///{folder / 'workflows.db'}"
    dev = start_dev(folder, url, WFCELERY_LEASE="3")  # a step that is cancelled is told at the next renewal
    yield url
    assert dev.stop() == 0, dev.log.read_text()


@pytest.fixture
def cli(dev_url: str) -> Cli:
    """The command line on a database that a `wfcelery dev` works on."""
    return Cli(dev_url)
