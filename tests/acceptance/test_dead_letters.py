"""What cannot succeed ends as a dead letter that tells why and nothing more; and may be tried again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet
from tests.acceptance.shell import ShellError

DEAD = "from wfcelery.service import dead_letters\nfrom wfcelery.service.context import current\n"


@pytest.fixture(scope="module")
def here(make_shared_fleet: Callable[..., Fleet]) -> Fleet:
    fleet = make_shared_fleet(environment={"WFCELERY_POLL": "0.3"})
    return fleet.ready(fleet.worker())


def letters(fleet: Fleet, run: str, status: str = "open") -> list[dict[str, Any]]:
    """What people see of the dead letters of a run."""
    listed = fleet.shell(f"{DEAD}[view.model_dump(mode='json') for view in dead_letters.listed(current(), status={status!r})]")
    return [letter for letter in listed if letter["run"] == run]


def fails(fleet: Fleet, run: str) -> None:
    with pytest.raises(ShellError, match="RunFailed"):
        fleet.result(run)


@pytest.mark.promise("A6", "D6")
def test_a_step_that_costs_three_workers_their_life_is_not_given_a_fourth(here: Fleet) -> None:
    run = here.start("one_stubborn.bind(60)")
    for attempt in (1, 2, 3):
        effects = eventually(lambda attempt=attempt: [effect for effect in here.effects.all("stubborn") if effect.attempt == attempt])
        os.kill(effects[0].pid, signal.SIGKILL)

    fails(here, run)
    (letter,) = letters(here, run)
    assert (letter["step"], letter["reason"], letter["attempts"]) == ("stubborn", "lost", 3)
    assert letter["error"]["message"] == "3 workers were lost while they executed this step"
    assert here.effects.attempts("stubborn") == [1, 2, 3]
    assert [fact["attempt"] for fact in here.facts(run, "step_lost")] == [1, 2]
    assert here.faults() == {}


@pytest.mark.promise("A6", "A13")
@pytest.mark.parametrize(
    ("bound", "reason", "attempts", "kind", "message"),
    [
        ("telling_tales.bind('secret-4711')", "exhausted", 3, "FileNotFoundError", "[Errno 2] No such file or directory: '…/orders.csv'"),
        ("doomed.bind('no such customer')", "non_retryable", 1, "GiveUp", "no such customer"),
        ("shock.bind('secret-4711')", "exhausted", 1, "DataError", None),
    ],
    ids=["exhausted", "given up", "in a driver"],
)
def test_a_letter_says_why_without_a_path_a_trace_or_a_payload(
    here: Fleet, bound: str, reason: str, attempts: int, kind: str, message: str | None
) -> None:
    run = here.start(bound)
    fails(here, run)
    (letter,) = letters(here, run)
    assert (letter["reason"], letter["attempts"], letter["status"], letter["episode"]) == (reason, attempts, "open", 1)
    assert letter["error"]["type"] == kind
    assert message in (None, letter["error"]["message"])
    for said in (str(letter), here.query("select error from wf_dead_letter where run = cast(:run as uuid)", run=run)[0][0]):
        assert "Traceback" not in said
        assert "/srv/" not in said
        assert "select 1" not in said
    assert here.faults() == {}


@pytest.mark.promise("A6", "C31")
def test_a_failed_run_is_brought_to_its_end_by_a_retry_of_its_letter(here: Fleet, tmp_path: Path) -> None:
    flag = tmp_path / "repaired"
    runs = [here.start(f"healing.bind('a', {str(flag)!r})") for _ in range(3)]
    for run in runs:
        fails(here, run)
    flag.touch()

    one = letters(here, runs[0])[0]["id"]
    assert here.shell(f"{DEAD}dead_letters.retry(current(), [{one!r}], by='an operator')") == 1
    eventually(lambda: here.status(runs[0]) == "succeeded")
    assert here.result(runs[0]) == "healed-2"
    assert here.shell(f"{DEAD}dead_letters.retry(current(), None, workflow='healing')") == 2
    eventually(lambda: {here.status(run) for run in runs} == {"succeeded"})
    assert [here.result(run) for run in runs[1:]] == ["healed-2"] * 2

    assert [letter["status"] for letter in letters(here, runs[0], "all")] == ["retried"]
    assert [effect.step for effect in here.effects.all("first")] == ["first"] * 3, "what had succeeded did not run again"
    assert "run_reopened" in {fact["fact"] for fact in here.facts(runs[0])}
    assert here.faults() == {}


@pytest.mark.promise("A6")
def test_letters_are_purged(here: Fleet) -> None:
    run = here.start("doomed.bind('purge me')")
    fails(here, run)
    (letter,) = letters(here, run)
    assert here.shell(f"{DEAD}dead_letters.purge(current(), [{letter['id']!r}])") == 1
    assert letters(here, run, "all") == []
