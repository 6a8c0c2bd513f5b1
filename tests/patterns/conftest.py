"""One real worker for all patterns, and each pattern twice: from its YAML and from its Python twin, which stand in docs/patterns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.acceptance.conftest import pytest_runtest_makereport
from tests.acceptance.processes import Fleet

__all__ = ["pytest_runtest_makereport"]

PATTERNS = Path(__file__).parents[2] / "docs" / "patterns"
QUICK = {"WFCELERY_POLL": "0.2", "WFCELERY_LEASE": "3", "WFCELERY_RING_AGAIN": "1"}
PUBLISH = "from pathlib import Path\nfrom wfcelery.service import publishing\nfrom wfcelery.service.context import current\n"


@dataclass(frozen=True)
class Pattern:
    """One workflow pattern in one of its two spellings."""

    fleet: Fleet
    number: str
    spelling: str

    def start(self, **given: Any) -> str:
        """Start a run with this input; its id."""
        if self.spelling == "python":
            return str(self.fleet.shell(f"start_workflow(app_module.WORKFLOWS[{self.number!r}].bind(**{given!r})).id"))
        file = str(PATTERNS / f"pattern_{self.number}.yaml")
        name = self.fleet.shell(f"{PUBLISH}publishing.publish(current(), [Path({file!r})])[0].definition.name")
        return str(self.fleet.shell(f"start_workflow({name!r}, {given!r}).id"))

    def items(self, run: str, step: str) -> list[str]:
        """How the items of a fan-out stand."""
        look = "select status from wf_step where run = :run and name = :step and item >= 0 order by item"
        return [status for (status,) in self.fleet.query(look, run=UUID(run).hex, step=step)]

    def step(self, run: str, step: str) -> str | None:
        """How a task stands; None: the run has not come to it."""
        rows = self.fleet.query("select status from wf_step where run = :run and name = :step and item = -1", run=UUID(run).hex, step=step)
        return str(rows[0][0]) if rows else None


@pytest.fixture(scope="session")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """SQLite, no broker, one worker of eight threads."""
    folder = tmp_path_factory.mktemp("patterns")
    url = f"sqlite:///{folder / 'workflows.db'}"
    fleet = Fleet(folder, app="tests.patterns.app", database_url=url, broker_url="wfmem://localhost//", environment=QUICK)
    fleet.upgrade()
    fleet.ready(fleet.database_worker(pool="threads", concurrency=8))
    yield fleet
    fleet.close()


@pytest.fixture(params=["yaml", "python"])
def pattern(request: pytest.FixtureRequest, worker: Fleet) -> Pattern:
    """The pattern that the test's mark names: `@pytest.mark.pattern(14)`."""
    mark = request.node.get_closest_marker("pattern")
    assert mark is not None, "a test of a pattern says which: @pytest.mark.pattern(14)"
    return Pattern(worker, f"{mark.args[0]:02}", request.param)
