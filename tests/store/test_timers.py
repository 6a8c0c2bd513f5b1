"""Timers, as the sweep finds them: a crash at any statement leaves a wait open or its run advanced, and none waits for its turn."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from tests.acceptance.eventually import eventually
from tests.store.counted import CountedDatabase, counted
from tests.store.rows import change, started
from wfcelery.authoring.yaml import load_yaml
from wfcelery.core.decision import Ring
from wfcelery.definition.model import canonical_json, signature
from wfcelery.engine import executing
from wfcelery.engine.ports import Call, Outcome, Policy, Returned
from wfcelery.engine.runtime import Runtime
from wfcelery.engine.sweeping import Sweep
from wfcelery.settings import Settings
from wfcelery.store import definitions
from wfcelery.store.database import CursorTx, Database

__all__ = ["counted"]

NAP = """
name: order
tasks:
  - {name: nap, type: sleep, duration: 0.01s}
  - {name: say, action: say, after: [nap]}
"""


class Quiet:
    """Everything around the engine, in one silent piece."""

    def policy(self, action: str) -> Policy:
        return Policy()

    def call(self, call: Call) -> Outcome:
        return Returned(None)

    def ring(self, rings: Sequence[Ring]) -> None:
        """A ring may be lost."""

    ring_again = ring

    def queue_for(self, action: str, queue: str | None) -> str:
        return "celery"

    def may_keep(self, action: str, queue: str, hard_limit: float | None) -> bool:
        return False

    def take(self, token: UUID) -> None: ...

    def drop(self, token: UUID) -> None: ...

    def identity(self) -> tuple[UUID, str]:
        return uuid4(), "1:1"


def runtime_on(database: Database) -> Runtime:
    quiet = Quiet()
    definition = load_yaml(NAP)
    with database.transaction() as tx:
        definitions.store(tx, signature(definition), definition.name, definition.version, canonical_json(definition), strict=False)
    return Runtime(database, Settings(batch=100), quiet, quiet, quiet, quiet)


def napping(runtime: Runtime) -> UUID:
    """A run that has begun to sleep, and whose time has come."""
    run = started(runtime.database, definition=signature(load_yaml(NAP)), input="{}")
    executing.dispatch(runtime, "default", run)
    return run


def all_due(database: Database, seconds: float = 10.0) -> None:
    """Every open wait has come so long ago: by default so long that it is the sweep's."""
    earlier = f"due_at - interval '{seconds} seconds'" if database.dialect == "postgresql" else f"due_at - {seconds}"
    change(database, f"update wf_wait set due_at = {earlier} where status = 'open'")


def told(database: Database, text: str, **given: Any) -> list[tuple[Any, ...]]:
    with database.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(text), given)]


class PowerCut(Exception):
    """Here everything ends."""


@pytest.mark.promise("C16")
def test_a_crash_at_any_statement_leaves_the_timer_open_or_its_run_advanced(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime, plain = runtime_on(database), CursorTx.execute
    crashes = 0
    for fatal in range(1, 40):
        run, count = napping(runtime), 0
        all_due(database)

        def cut(self: CursorTx, *given: Any, fatal: int = fatal) -> Any:
            nonlocal count
            count += 1
            if count == fatal:
                raise PowerCut
            return plain(self, *given)

        with monkeypatch.context() as patched:
            patched.setattr(CursorTx, "execute", cut)
            with suppress(PowerCut):
                Sweep(runtime)()
            crashes += count >= fatal
        id_ = run if database.dialect == "postgresql" else run.hex
        waits = told(database, "select status from wf_wait where run = :run", run=id_)
        steps = told(database, "select name from wf_step where run = :run", run=id_)
        assert (waits, len(steps)) in (([("open",)], 1), ([("due",)], 2))
        Sweep(runtime)()
        if count < fatal:
            break
    assert crashes > (4 if database.dialect == "postgresql" else 7), "one statement ends a sleep on PostgreSQL"
    assert told(database, "select count(*) from wf_wait where status = 'open'") == [(0,)]
    facts = told(database, "select facts from wf_history")
    came = [fact for (row,) in facts for fact in json.loads(row) if fact["fact"] == "wait_came"]
    assert len(came) == told(database, "select count(*) from wf_wait")[0][0], "each timer fired once"


@pytest.mark.promise("C29")
def test_timers_that_fall_due_together_are_drained_in_one_pass(database: Database) -> None:
    runtime = runtime_on(database)
    for _ in range(450):
        napping(runtime)
    all_due(database)
    this = Sweep(runtime)()
    assert this.waits == 450  # four batches and a half, in one pass
    assert told(database, "select count(*) from wf_wait where status = 'open'") == [(0,)]


def test_a_timer_costs_one_statement_and_a_batch_of_them_one_more(counted: CountedDatabase) -> None:
    runtime = runtime_on(counted.database)
    for _ in range(250):
        napping(runtime)
    all_due(counted.database)
    sweep, before = Sweep(runtime), counted.statements()
    assert sweep().waits == 250
    around = {"looks": 2, "batches": 3, "those that are the workers'": 1, "stamp": 1, "forgetting workers": 1}
    assert counted.statements() - before == 250 + sum(around.values()), "two hundred and fifty commits, each without BEGIN and COMMIT"


@pytest.mark.parametrize("half", [0, 1])
def test_a_sweep_that_shares_the_timers_takes_its_half_first_and_the_others_when_nobody_does(database: Database, half: int) -> None:
    runtime = runtime_on(database)
    for _ in range(60):
        napping(runtime)
    all_due(database)
    sweep = Sweep(runtime)
    eventually(lambda: sweep(half) and told(database, "select count(*) from wf_wait where status = 'open'") == [(0,)], within=5, every=0.01)
    assert sweep.total.waits == 60
    assert sweep.passes > 1
