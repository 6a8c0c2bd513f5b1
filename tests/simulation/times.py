"""Nothing happens before its time, by the database's clock; and what is recorded was done by then."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from tests.simulation.fleet import Fleet
from tests.simulation.stories import TIMEOUT
from tests.simulation.verdicts import decided_by_hand
from tests.simulation.world import START, Violation

GRAIN = 0.001  # seconds: SQLite's clock is a Julian day


def check(fleet: Fleet, run: UUID, delay: float | None, deadline: float | None) -> None:
    """Of one run that has ended."""
    query = fleet.database.query
    [(created,)] = query("select created_at from wf_run where id = ?", run.hex)
    for due, ended in query("select due_at, ended_at from wf_wait where run = ? and status = 'due'", run.hex):
        if ended < due - GRAIN:
            raise Violation(f"run {run}: a sleep that is due at {due} has ended at {ended}")
    for at, facts in query("select at, facts from wf_history where run = ? order by version", run.hex):
        for fact in json.loads(facts):
            _fact(run, at, fact, created, delay, deadline)
    _recorded(fleet, run)


def _fact(run: UUID, at: float, fact: dict[str, Any], created: float, delay: float | None, deadline: float | None) -> None:
    what = fact["fact"]
    if what == "run_begun" and delay is not None and at < created + delay - GRAIN:
        raise Violation(f"run {run} was begun before its delay was over")
    if what == "run_ending" and fact.get("reason") == "deadline" and deadline is not None and at < created + deadline - GRAIN:
        raise Violation(f"run {run} was ended before its deadline")
    if (what == "step_timed_out" or fact.get("end") == "timed_out") and fact.get("started"):
        took = at - datetime.fromisoformat(fact["started"]).timestamp()
        if took < TIMEOUT - GRAIN:
            raise Violation(f"run {run}: an attempt of {fact.get('step')} was timed out after {took:.3f} s")


def _recorded(fleet: Fleet, run: UUID) -> None:
    """A recorded result is that of the attempt whose token is on the row, and its code had returned by then."""
    ended = {effect.token: effect.at for effect in fleet.authors.ledger if effect.phase == "ended"}
    begun: dict[UUID, int] = {}
    for effect in fleet.authors.ledger:
        if effect.token not in fleet.database.taken_back:
            begun[effect.step] = max(begun.get(effect.step, 0), effect.attempt)
    by_hand = decided_by_hand(fleet, run)
    rows = fleet.database.query("select id, name, status, token, attempt, ended_at from wf_step where run = ?", run.hex)
    for id_, name, status, token, attempt, at in rows:
        if attempt < begun.get(UUID(hex=id_), 0):
            raise Violation(f"run {run}: attempt {begun[UUID(hex=id_)]} of {name} was executed, and its row knows of {attempt}")
        if fleet.authors.tasks.get(run, {}).get(name, {}).get("type") == "workflow":  # its child's result
            continue
        if status != "succeeded" or attempt == 0 or name in by_hand or f"do.{name}" in fleet.world.story.transactional:
            continue
        returned = ended.get(UUID(hex=token)) if token is not None else None
        if returned is None or START + returned > at + GRAIN:
            raise Violation(f"run {run}: {name} has a result of an attempt that had not returned")
