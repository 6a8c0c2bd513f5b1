"""One worker on SQLite without a broker, for all that can be shown on it; and the fleets of the acceptance tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from textwrap import dedent
from typing import Any
from uuid import UUID

import pytest

from tests.acceptance.conftest import fleet, make_fleet, make_shared_fleet, pytest_runtest_makereport
from tests.acceptance.processes import Fleet

__all__ = ["fleet", "make_fleet", "make_shared_fleet", "pytest_runtest_makereport"]

APP = "tests.promises.app"
QUICK = {"WFCELERY_POLL": "0.2", "WFCELERY_LEASE": "3", "WFCELERY_RING_AGAIN": "1"}
PUBLISH = "from wfcelery.service import publishing\nfrom wfcelery.service.context import current\n"


class Here(Fleet):
    """A fleet of the app of these tests."""

    def publish(self, text: str) -> None:
        """Store a definition in YAML; `$app` is the app."""
        file = self.folder / "definition.yaml"
        file.write_text(dedent(text).replace("$app", APP))
        self.shell(f"{PUBLISH}len(publishing.publish(current(), [app_module.Path({str(file)!r})]))")

    def named(self, name: str, given: dict[str, Any] | None = None) -> str:
        """Start a run by name."""
        return str(self.shell(f"start_workflow({name!r}, {given or {}!r}).id"))

    def id(self, run: str) -> str:
        """As the database writes it."""
        return UUID(run).hex if self.database_url.startswith("sqlite") else run

    def late_worker(self, queues: str = "celery") -> None:
        """A worker of these queues that needs no broker, on tables where something waits already."""
        quiet = ("--without-mingle", "--without-gossip", "--without-heartbeat")
        self.worker("late", pool="threads", queues=queues, options=quiet, environment={"WFCELERY_BELL": "database"}).wait_ready()

    def steps(self, run: str) -> dict[str, str]:
        """The status of each task that has a row."""
        rows = self.query("select name, status from wf_step where run = :run and item = -1", run=self.id(run))
        return dict(rows)


@pytest.fixture(scope="session")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    """SQLite, no broker, one worker of four threads, a sweep five times a second."""
    folder = tmp_path_factory.mktemp("here")
    made = Here(folder, app=APP, database_url=f"sqlite:///{folder / 'workflows.db'}", broker_url="wfmem://localhost//", environment=QUICK)
    made.upgrade()
    made.ready(made.database_worker(pool="threads", concurrency=4))
    yield made
    made.close()


@pytest.fixture
def alone(make_fleet: Callable[..., Fleet], sqlite_url: str) -> Here:
    """Tables on SQLite, and no process at all."""
    made = make_fleet(kind=Here, app=APP, database_url=sqlite_url, broker_url="wfmem://localhost//", environment=QUICK)
    assert isinstance(made, Here)
    made.upgrade()
    return made
