"""Databases whose transactions wait for a lock for a moment only, or as long as it takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from wfcelery.store import database as store
from wfcelery.store.database import Database


@pytest.fixture
def hasty(postgres: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database whose transactions wait for a lock for a moment only."""
    yield from _waiting(0.1, postgres, monkeypatch)


@pytest.fixture
def patient(postgres: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """A database whose transactions wait for a lock as long as it takes."""
    yield from _waiting(60.0, postgres, monkeypatch)


def _waiting(seconds: float, postgres: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setattr(store, "LOCK_TIMEOUT", seconds)
    with closing(Database(postgres.url)) as database:
        yield database
