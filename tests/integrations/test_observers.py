"""Sentry and OpenTelemetry watch an ordinary worker: they see the steps, once, and nothing of what carries them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet

PASSWORD = "swordfish"
SCRIPT = f"""
print(wfcelery.start_workflow(patient.bind({PASSWORD!r})).id)
print(wfcelery.start_workflow(doomed.bind({PASSWORD!r})).id)
broken.delay()
"""


class Observed:
    """A fleet, and what its observers were told."""

    def __init__(self, fleet: Fleet, told: Path) -> None:
        self.fleet, self._told = fleet, told

    def ended(self, run: str, status: str) -> None:
        look = "select status from wf_run where id = :run and ended_at is not null"
        assert eventually(lambda: self.fleet.query(look, run=run.replace("-", ""))) == [(status,)]

    def told(self) -> Counter[tuple[str, str]]:
        return Counter((line["what"], line["name"]) for line in map(json.loads, self._lines()))

    def traces(self) -> str:
        return "".join(line["whole"] for line in map(json.loads, self._lines()) if line["what"] != "error")

    def _lines(self) -> list[str]:
        return self._told.read_text().splitlines() if self._told.exists() else []


@pytest.fixture
def observed(sqlite_url: str, redis_url: str, tmp_path: Path) -> Iterator[Observed]:
    """One ordinary worker with one child, on a database that is ready."""
    environment = {"OBSERVED": str(tmp_path / "told.jsonl"), "WFCELERY_POLL": "0.2"}
    fleet = Fleet(tmp_path, app="tests.integrations.observed", database_url=sqlite_url, broker_url=redis_url, environment=environment)
    fleet.run("db", "upgrade")
    fleet.worker(concurrency=1).wait_ready()
    yield Observed(fleet, tmp_path / "told.jsonl")
    fleet.close()


def test_attempts_that_are_tried_again_are_traces_and_no_errors_and_the_engine_is_neither(observed: Observed) -> None:
    patient, doomed = observed.fleet.script(SCRIPT).split()
    observed.ended(patient, "succeeded")
    observed.ended(doomed, "failed")
    flaky, hopeless = "tests.integrations.observed.flaky", "tests.integrations.observed.hopeless"
    seen = {
        ("span", f"run/{flaky}"): 4,
        ("transaction", flaky): 4,
        ("span", "run/old.flaky"): 4,
        ("transaction", "old.flaky"): 4,
        ("span", f"run/{hopeless}"): 1,
        ("transaction", hopeless): 1,
        ("error", "GiveUp"): 1,
        # and an ordinary task of the app, as before
        ("span", "apply_async/old.broken"): 1,
        ("span", "run/old.broken"): 1,
        ("transaction", "old.broken"): 1,
        ("error", "ZeroDivisionError"): 1,
    }
    eventually(lambda: observed.told() == seen, explain=lambda: str(observed.told()))
    assert PASSWORD not in observed.traces()
