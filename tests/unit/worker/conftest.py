"""A folder engine whose rings go to a broker of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from tests.unit.worker.folder import FolderEngine
from wfcelery.authoring.registry import Registry
from wfcelery.worker.installation import Installation


@pytest.fixture
def sender(redis_url: str, tmp_path: Path) -> Iterator[FolderEngine]:
    """The engine of a process that only rings: a web server."""
    with Celery("sender", broker=redis_url, set_as_current=False) as app:
        engine = FolderEngine(tmp_path)
        engine.installation = Installation(app, lambda _: engine, {}, Registry())
        engine.installation.put()
        yield engine
        engine.installation.outbound.close()
