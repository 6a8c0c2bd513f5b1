"""The hot path: one statement writes what the plain ones write, or nothing; whether the run as it was is at hand or not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from tests.store.rows import begun, change, claimed, column, commit, look, ready, run_of, succeeded
from wfcelery.core.decision import Decision
from wfcelery.core.events import note
from wfcelery.core.rows import RunRow, StepRow
from wfcelery.core.states import RunStatus, StepStatus
from wfcelery.errors import RowChanged
from wfcelery.store import inbox
from wfcelery.store.database import Database
from wfcelery.store.hot import Saved, Stale, is_hot, save_fast
from wfcelery.store.loading import load_steps

OPEN = 10  # steps of a run that `begun` makes


@pytest.fixture(params=["the run is at hand", "it is not"])
def at_hand(request: pytest.FixtureRequest) -> bool:
    """Whether the run as it was is given: what has not changed of it need not be written then."""
    return bool(request.param == "the run is at hand")


def _save(database: Database, decision: Decision, at_hand: bool) -> Saved | Stale:
    return save_fast(database, decision, before=_before(decision) if at_hand else None)


def _before(decision: Decision) -> RunRow:
    return replace(decision.run, status=RunStatus.RUNNING, open_steps=OPEN, output=None)


def _hot(database: Database, *, born: StepRow | None = None) -> tuple[Decision, StepRow]:
    """A decision of the hot shape: a claimed step has ended, at most one is born."""
    row = ready("a")
    run = begun(database, row)
    mine = claimed(database, row)
    seen = run_of(database, run)
    steps = [succeeded(mine, {"n": 2}), *([born] if born is not None else [])]
    return Decision(replace(seen), seen.version, steps=steps, facts=[note("step_succeeded", "a")]), mine


def _kept(name: str = "b") -> StepRow:
    return ready(name, status=StepStatus.RUNNING, attempt=1, token=uuid4(), claimed_by=uuid4(), child="1:1", input={"x": 1})


def test_it_writes_what_the_plain_ones_write(database: Database, at_hand: bool) -> None:
    kept = _kept()
    decision, mine = _hot(database, born=kept)
    assert _save(database, decision, at_hand) == Saved(inbox=False)
    with database.transaction() as tx:
        rows = {row.name: row for row in load_steps(tx, decision.run.id, names=["a", "b"])}
    assert (rows["a"].status, rows["a"].output, rows["a"].token) == (StepStatus.SUCCEEDED, {"n": 2}, mine.token)
    assert replace(rows["b"], claimed_at=None) == replace(kept, seen=(StepStatus.RUNNING, kept.token))
    assert rows["b"].claimed_at is not None
    assert run_of(database, decision.run.id).version == 2
    assert (run_of(database, decision.run.id).status, run_of(database, decision.run.id).open_steps) == (RunStatus.RUNNING, OPEN)
    assert look(database, "select facts from wf_history where version = 2") == [('[{"fact":"step_succeeded","step":"a"}]',)]


def test_it_can_end_a_run(database: Database, at_hand: bool) -> None:
    decision, _ = _hot(database)
    decision.run.status, decision.run.open_steps, decision.run.output = RunStatus.SUCCEEDED, 0, {"done": True}
    assert _save(database, decision, at_hand) == Saved(inbox=False)
    found = run_of(database, decision.run.id)
    assert (found.status, found.output, found.version) == (RunStatus.SUCCEEDED, {"done": True}, 2)


def test_it_tells_of_the_inbox(database: Database, at_hand: bool) -> None:
    decision, _ = _hot(database, born=_kept())
    with database.transaction() as tx:
        inbox.put(tx, "default", decision.run.id, "cancel", {})
    assert _save(database, decision, at_hand) == Saved(inbox=True)


def test_it_is_stale_where_another_commit_came_between(database: Database, at_hand: bool) -> None:
    decision, mine = _hot(database, born=_kept())
    commit(database, decision.run.id, ready("c"))
    assert isinstance(_save(database, decision, at_hand), Stale)
    assert look(database, "select name, status from wf_step order by name") == [("a", "running"), ("c", "ready")]
    assert run_of(database, decision.run.id).version == 2
    assert mine.token == column(database, "wf_step", "token", mine.id) or database.dialect == "sqlite"


def test_it_leaves_no_version_behind_where_the_step_is_another_attempts(database: Database, at_hand: bool) -> None:
    decision, mine = _hot(database, born=_kept())
    change(database, "update wf_step set token = :token where id = :id", token=uuid4(), id=mine.id)
    with pytest.raises(RowChanged):
        _save(database, decision, at_hand)
    assert run_of(database, decision.run.id).version == 1
    assert look(database, "select name, status from wf_step") == [("a", "running")]
    assert look(database, "select count(*) from wf_history") == [(1,)]


def test_it_leaves_no_version_behind_where_the_place_is_taken(database: Database, at_hand: bool) -> None:
    decision, _ = _hot(database, born=ready("a"))
    with pytest.raises(Exception, match=r"wf_step_place|UNIQUE"):
        _save(database, decision, at_hand)
    assert run_of(database, decision.run.id).version == 1


@pytest.mark.parametrize(
    "beside",
    [
        {"steps": [ready("b", item=0)]},
        {"steps": [ready("b", delay=2.0)]},
        {"steps": [ready("b"), ready("c")]},
        {"steps": [ready("b", status=StepStatus.SKIPPED)]},
        {"steps": [replace(_kept(), seen=(StepStatus.BLOCKED, None))]},
        {"steps": [replace(_kept(), status=StepStatus.FAILED, seen=(StepStatus.RUNNING, uuid4()))]},
        {"waits_closed": [uuid4()]},
        {"inbox_done": [uuid4()]},
        {"grace": 30.0},
        {"ignored": "late"},
    ],
    ids=lambda given: next(iter(given)),
)
def test_what_has_more_to_say_is_not_written_by_it(beside: dict[str, Any]) -> None:
    plain = Decision(RunRow(uuid4(), "default", "order", "s", RunStatus.RUNNING, 1, {}), 1, steps=[_kept()])
    assert is_hot(plain)
    assert not is_hot(replace(plain, **beside))
