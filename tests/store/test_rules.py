"""What a status means, the database itself holds: a row that breaks a rule is refused on both, by the rule's name."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from tests.store.rows import begun, change, look, ready
from wfcelery.store.database import Database
from wfcelery.store.schema import run, step

BROKEN = {
    "wf_run_cancelling_has_an_ending": "wf_run set status = 'cancelling'",
    "wf_run_counters": "wf_run set open_waits = open_steps + 1",
    "wf_run_ended": "wf_run set status = 'succeeded', open_steps = 0, due_at = null",
    "wf_run_ended_has_nothing_open": "wf_run set status = 'failed', ended_at = created_at, open_steps = 1",
    "wf_run_pending_is_version_0": "wf_run set status = 'pending'",
    "wf_run_status": "wf_run set status = 'lost'",
    "wf_step_blocked_has_blockers": "wf_step set status = 'blocked'",
    "wf_step_ended": "wf_step set status = 'skipped', ring_at = null",
    "wf_step_ended_is_not_rung": "wf_step set status = 'skipped', ended_at = due_at, ring_at = due_at",
    "wf_step_held_has_a_reason": "wf_step set status = 'held'",
    "wf_step_idle_has_no_token": "wf_step set token = id",
    "wf_step_items_left": "wf_step set items_left = -1",
    "wf_step_ready_has_a_time": "wf_step set due_at = null",
    "wf_step_status": "wf_step set status = 'lost'",
    "wf_step_under_way_has_a_token": "wf_step set status = 'running'",
}


def test_every_rule_of_the_schema_is_tried_here() -> None:
    rules = {str(rule.name) for table in (run, step) for rule in table.constraints if isinstance(rule, sa.CheckConstraint)}
    assert rules == BROKEN.keys()


@pytest.mark.parametrize(("rule", "write"), BROKEN.items(), ids=BROKEN)
def test_a_row_that_breaks_a_rule_is_refused_by_its_name(database: Database, rule: str, write: str) -> None:
    begun(database, ready("a"))
    before = look(database, "select * from wf_run"), look(database, "select * from wf_step")
    with pytest.raises(Exception, match=rf"{rule}\b"):
        change(database, f"update {write}")
    assert (look(database, "select * from wf_run"), look(database, "select * from wf_step")) == before
