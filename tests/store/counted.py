"""A PostgreSQL database that tells how many statements this process has sent it, BEGIN and COMMIT among them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.counts.wire import Wire
from wfcelery.store import migrations
from wfcelery.store.database import Database


@dataclass
class CountedDatabase:
    """The database, and the way to it on which all is counted."""

    database: Database
    wire: Wire

    def statements(self) -> int:
        """So far."""
        return self.wire.sent_by(os.getpid()).statements.total()


@pytest.fixture
def counted(postgres_url: str) -> Iterator[CountedDatabase]:
    """A database of its own."""
    migrations.upgrade(Database(postgres_url))
    wire = Wire(postgres_url)
    database = Database(wire.url)
    yield CountedDatabase(database, wire)
    database.close()
    wire.close()
