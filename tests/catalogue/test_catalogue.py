"""One catalogue of reference workflows, on every broker and every database: whatever carries the messages, the runs end alike."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.acceptance.conftest import pytest_runtest_makereport
from tests.acceptance.processes import ROOT, Fleet
from tests.acceptance.shell import ShellError
from tests.catalogue.cases import CASES
from tests.conftest import database_on

__all__ = ["pytest_runtest_makereport"]

FILES = sorted((ROOT / "tasks").glob("*.yaml"))
QUICK = {"WFCELERY_POLL": "0.2", "WFCELERY_LEASE": "3", "WFCELERY_RING_AGAIN": "1"}


class Underway:
    """A fleet, and a run of each case, started side by side."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.runs = {name: str(fleet.shell(f"start_workflow({case.workflow!r}, {case.input!r}).id")) for name, case in CASES.items()}
        for name, case in CASES.items():
            case.world(fleet, self.runs[name])


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('catalogue') / 'workflows.db'}"
        return
    server = request.getfixturevalue("_own_postgres").ensure_running()
    with contextmanager(database_on)(server.url("postgres")) as url:
        yield url


@pytest.fixture(scope="module", params=["memory", "redis", "rabbitmq"])
def underway(request: pytest.FixtureRequest, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Underway]:
    """One worker with this database and this broker, and everything of the catalogue under way."""
    folder = tmp_path_factory.mktemp("fleet")
    broker = _broker(request)
    world = {**QUICK, "BROKER_URL": broker, "SHOP_LEDGER": str(folder / "ledger")}
    fleet = Fleet(folder, app="tasks.app", database_url=database, broker_url=broker, environment=world)
    try:
        fleet.upgrade()
        fleet.run("definitions", "publish", *map(str, FILES))
        worker = fleet.database_worker if request.param == "memory" else fleet.worker
        fleet.ready(worker(pool="threads", concurrency=4))
        yield Underway(fleet)
    finally:
        fleet.close()


def _broker(request: pytest.FixtureRequest) -> str:
    if request.param == "memory":
        return "wfmem://localhost//"
    if request.param == "redis":
        return str(request.getfixturevalue("_own_valkey").ensure_running().fresh_url())
    return str(request.getfixturevalue("_own_rabbitmq").ensure_running().url())


@pytest.mark.promise("B28")
@pytest.mark.parametrize("name", CASES)
def test_a_workflow_of_the_catalogue_comes_to_its_end(underway: Underway, name: str) -> None:
    case, run = CASES[name], underway.runs[name]
    if case.error is None:
        assert underway.fleet.result(run) == case.output
    else:
        with pytest.raises(ShellError, match=case.error):
            underway.fleet.result(run)


def test_what_was_booked_is_given_back_the_last_first(underway: Underway) -> None:
    run = underway.runs["a trip that is given back"]
    assert underway.fleet.ended(run) == "failed"
    undone = [fact["step"] for fact in underway.fleet.facts(run, "step_succeeded") if fact["step"].endswith(":compensate")]
    assert undone == ["room:compensate", "flight:compensate"]


def test_all_of_it_can_be_verified(underway: Underway) -> None:
    for run in underway.runs.values():
        underway.fleet.ended(run)
    assert underway.fleet.faults() == {}
