"""The rules of runs and steps are held by triggers on PostgreSQL, which reads the text of a CHECK anew for each statement."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

CHECKS = {
    "wf_run": (
        "wf_run_cancelling_has_an_ending",
        "wf_run_counters",
        "wf_run_ended",
        "wf_run_ended_has_nothing_open",
        "wf_run_pending_is_version_0",
        "wf_run_status",
    ),
    "wf_step": (
        "wf_step_blocked_has_blockers",
        "wf_step_ended",
        "wf_step_ended_is_not_rung",
        "wf_step_held_has_a_reason",
        "wf_step_idle_has_no_token",
        "wf_step_items_left",
        "wf_step_ready_has_a_time",
        "wf_step_status",
        "wf_step_under_way_has_a_token",
    ),
}
RUN_RULES = """
create or replace function wf_run_rules() returns trigger language plpgsql as $rules$
begin
  if (new.status <> 'cancelling' or new.ending is not null)
    and (new.open_waits <= new.open_steps and new.open_waits >= 0)
    and ((new.ended_at is not null) = (new.status in ('cancelled', 'failed', 'succeeded', 'timed_out')))
    and (new.status not in ('cancelled', 'failed', 'succeeded', 'timed_out') or (new.open_steps = 0 and new.due_at is null))
    and ((new.status = 'pending') = (new.version = 0))
    and (new.status in ('pending', 'running', 'waiting', 'cancelling', 'succeeded', 'failed', 'cancelled', 'timed_out')) then
    return new;
  end if;
  if not (new.status <> 'cancelling' or new.ending is not null) then
    raise check_violation using message = 'a row of wf_run breaks wf_run_cancelling_has_an_ending', table = 'wf_run', constraint = 'wf_run_cancelling_has_an_ending';
  end if;
  if not (new.open_waits <= new.open_steps and new.open_waits >= 0) then
    raise check_violation using message = 'a row of wf_run breaks wf_run_counters', table = 'wf_run', constraint = 'wf_run_counters';
  end if;
  if not ((new.ended_at is not null) = (new.status in ('cancelled', 'failed', 'succeeded', 'timed_out'))) then
    raise check_violation using message = 'a row of wf_run breaks wf_run_ended', table = 'wf_run', constraint = 'wf_run_ended';
  end if;
  if not (new.status not in ('cancelled', 'failed', 'succeeded', 'timed_out') or (new.open_steps = 0 and new.due_at is null)) then
    raise check_violation using message = 'a row of wf_run breaks wf_run_ended_has_nothing_open', table = 'wf_run', constraint = 'wf_run_ended_has_nothing_open';
  end if;
  if not ((new.status = 'pending') = (new.version = 0)) then
    raise check_violation using message = 'a row of wf_run breaks wf_run_pending_is_version_0', table = 'wf_run', constraint = 'wf_run_pending_is_version_0';
  end if;
  if not (new.status in ('pending', 'running', 'waiting', 'cancelling', 'succeeded', 'failed', 'cancelled', 'timed_out')) then
    raise check_violation using message = 'a row of wf_run breaks wf_run_status', table = 'wf_run', constraint = 'wf_run_status';
  end if;
  return new;  -- what is null breaks no rule
end
$rules$
"""
STEP_RULES = """
create or replace function wf_step_rules() returns trigger language plpgsql as $rules$
begin
  if (new.status <> 'blocked' or new.blockers > 0)
    and ((new.ended_at is not null) = (new.status in ('cancelled', 'failed', 'skipped', 'succeeded', 'timed_out')))
    and (new.ring_at is null or new.status not in ('cancelled', 'failed', 'skipped', 'succeeded', 'timed_out'))
    and (new.status <> 'held' or new.why is not null)
    and (new.status not in ('ready', 'held', 'blocked', 'waiting') or new.token is null)
    and (new.items_left is null or new.items_left >= 0)
    and (new.status <> 'ready' or new.due_at is not null)
    and (new.status in ('blocked', 'ready', 'held', 'running', 'reported', 'waiting', 'succeeded', 'failed', 'skipped', 'cancelled', 'timed_out'))
    and (new.status not in ('running', 'reported') or (new.token is not null and new.claimed_by is not null and new.attempt > 0)) then
    return new;
  end if;
  if not (new.status <> 'blocked' or new.blockers > 0) then
    raise check_violation using message = 'a row of wf_step breaks wf_step_blocked_has_blockers', table = 'wf_step', constraint = 'wf_step_blocked_has_blockers';
  end if;
  if not ((new.ended_at is not null) = (new.status in ('cancelled', 'failed', 'skipped', 'succeeded', 'timed_out'))) then
    raise check_violation using message = 'a row of wf_step breaks wf_step_ended', table = 'wf_step', constraint = 'wf_step_ended';
  end if;
  if not (new.ring_at is null or new.status not in ('cancelled', 'failed', 'skipped', 'succeeded', 'timed_out')) then
    raise check_violation using message = 'a row of wf_step breaks wf_step_ended_is_not_rung', table = 'wf_step', constraint = 'wf_step_ended_is_not_rung';
  end if;
  if not (new.status <> 'held' or new.why is not null) then
    raise check_violation using message = 'a row of wf_step breaks wf_step_held_has_a_reason', table = 'wf_step', constraint = 'wf_step_held_has_a_reason';
  end if;
  if not (new.status not in ('ready', 'held', 'blocked', 'waiting') or new.token is null) then
    raise check_violation using message = 'a row of wf_step breaks wf_step_idle_has_no_token', table = 'wf_step', constraint = 'wf_step_idle_has_no_token';
  end if;
  if not (new.items_left is null or new.items_left >= 0) then
    raise check_violation using message = 'a row of wf_step breaks wf_step_items_left', table = 'wf_step', constraint = 'wf_step_items_left';
  end if;
  if not (new.status <> 'ready' or new.due_at is not null) then
    raise check_violation using message = 'a row of wf_step breaks wf_step_ready_has_a_time', table = 'wf_step', constraint = 'wf_step_ready_has_a_time';
  end if;
  if not (new.status in ('blocked', 'ready', 'held', 'running', 'reported', 'waiting', 'succeeded', 'failed', 'skipped', 'cancelled', 'timed_out')) then
    raise check_violation using message = 'a row of wf_step breaks wf_step_status', table = 'wf_step', constraint = 'wf_step_status';
  end if;
  if not (new.status not in ('running', 'reported') or (new.token is not null and new.claimed_by is not null and new.attempt > 0)) then
    raise check_violation using message = 'a row of wf_step breaks wf_step_under_way_has_a_token', table = 'wf_step', constraint = 'wf_step_under_way_has_a_token';
  end if;
  return new;  -- what is null breaks no rule
end
$rules$
"""


def upgrade() -> None:
    """SQLite keeps its CHECKs: it reads them once."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, names in CHECKS.items():
        for name in names:
            op.drop_constraint(name, table, type_="check")
    for table, function in (("wf_run", RUN_RULES), ("wf_step", STEP_RULES)):
        op.execute(function)
        op.execute(f"create trigger {table}_rules before insert or update on {table} for each row execute function {table}_rules()")
