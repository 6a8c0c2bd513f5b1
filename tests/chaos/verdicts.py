"""After the faults: everything comes to rest, and then everything must be as it was known to be."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import sqlalchemy

from tests.chaos.lines import lines
from tests.chaos.looking import AWAY, living
from tests.chaos.plans import Plan, canary_of, plan_of
from tests.chaos.stack import Stack
from tests.simulation import verdicts as simulated
from tests.simulation.fleet import Fleet as SimulatedFleet
from tests.simulation.world import Violation
from wfcelery.service import dead_letters, invariants
from wfcelery.service.context import Context
from wfcelery.settings import Settings
from wfcelery.store.database import Database, Tx

BOUND = 60.0  # seconds without any progress, after which runs that live are stuck
LONGEST = 600.0


@contextmanager
def past_the_proxy(stack: Stack) -> Iterator[Context]:
    database = Database(stack.direct_url)
    try:
        yield Context(database, Settings(database_url=stack.direct_url))
    finally:
        database.close()


def drain(stack: Stack, revive: Callable[[], object]) -> list[str]:
    """Wait until every run has ended, an operator retrying what was lost too often; what is stuck, if anything."""
    began = moved = time.monotonic()
    before: object = None
    while True:
        revive()
        with suppress(*AWAY):
            stand = stack.query("select count(*), sum(version) from wf_run"), living(stack)
            if stand[1] == 0 and not _retry_lost(stack):
                return []
            if stand != before:
                before, moved = stand, time.monotonic()
        if time.monotonic() - moved > BOUND or time.monotonic() - began > LONGEST:
            return dump(stack)
        time.sleep(0.5)


def _retry_lost(stack: Stack) -> int:
    """Three lost workers are a step's budget; whoever kills that many asks for another."""
    with past_the_proxy(stack) as context:
        letters = [letter.id for letter in dead_letters.listed(context, limit=1000) if letter.reason == "lost"]
        return dead_letters.retry(context, letters, by="the rig") if letters else 0


def dump(stack: Stack) -> list[str]:
    """Everything about what is stuck goes into `stuck.json`; one sentence for each run."""
    ids = [row[0] for row in stack.query("select id from wf_run where ended_at is null order by created_at limit 50")]
    told: dict[str, Any] = {"runs": {}}
    for id_ in ids:
        told["runs"][str(id_)] = {
            table: [_named(stack, f"select * from {table} where {column} = :id", id=id_)]
            for table, column in (("wf_run", "id"), ("wf_step", "run"), ("wf_history", "run"), ("wf_inbox", "run"), ("wf_wait", "run"))
        }
    told["workers"] = _named(stack, "select * from wf_worker")
    told["meta"] = _named(stack, "select * from wf_meta")
    if stack.production:
        told["activity"] = _named(
            stack, "select pid, state, wait_event_type, wait_event, xact_start, left(query, 200) q from pg_stat_activity"
        )
        told["locks"] = _named(stack, "select pid, locktype, relation::regclass::text, mode, granted from pg_locks where not granted")
    (stack.folder / "stuck.json").write_text(json.dumps(told, default=str, indent=1))
    for member in stack.members:
        for pid in member.pids():  # their stacks, into their logs
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGRTMIN)
    return [f"run {id_} is stuck: stuck.json has its rows and the locks, the workers' logs have their stacks" for id_ in ids]


def _named(stack: Stack, statement: str, **parameters: Any) -> list[dict[str, Any]]:
    with stack.engine.begin() as connection:
        return [dict(row) for row in connection.execute(sqlalchemy.text(statement), parameters).mappings()]


# ---- what must hold ---------------------------------------------------------------------------------------------------


def broken_invariants(stack: Stack, seed: int, crashes: int, healed_at: float, left: Mapping[str, int]) -> list[str]:
    """What the checker says, with the ledgers of this run."""
    effects, kinds, _ = invariants.read_effects(stack.folder / "effects.jsonl")
    tap = stack.folder / "tap.jsonl"
    ledgers = invariants.Ledgers(
        effects=effects,
        kinds=kinds,
        crashes=crashes,
        starts=invariants.read_starts(stack.folder / "starts.jsonl"),
        tap=invariants.read_tap(tap) if tap.exists() else None,
        canaries=(canary_of(seed),),
        drained=True,
        healed_at=datetime.fromtimestamp(healed_at, UTC),
        within=LONGEST,
        left=left,
    )
    with past_the_proxy(stack) as context:
        return [f"run {run}: {problem}" for run, found in invariants.problems_of_all(context.database, ledgers) for problem in found]


def wrong_answers(stack: Stack, seed: int) -> list[str]:
    """Every run that the client asked for ended as its plan said, in its organization, and there is no other."""
    asked = {line["number"] for line in lines(stack.folder / "client.jsonl")}
    refused = {line["number"]: line["error"] for line in lines(stack.folder / "client.jsonl") if line["phase"] == "refused"}
    wrong = [f"number {number}: the client was refused: {error}" for number, error in refused.items()]
    lost = {str(row[0]) for row in stack.query("select distinct run from wf_step where lost >= 3")}
    rows = {(row[1], row[2]): row for row in stack.query("select id, organization_id, key, status, output, error from wf_run")}
    for plan in (plan_of(seed, number) for number in sorted(asked - refused.keys())):
        row = rows.pop((plan.organization, plan.key), None)
        if row is None:
            wrong.append(f"{plan.key} of {plan.organization}: there is no such run")
            continue
        status, output, error = row[3], _loads(row[4]), _loads(row[5])
        problem = plan.wrong(status, output, error, str(row[0]) in lost) or _by_the_oracle(stack, plan, UUID(str(row[0])))
        if problem is not None:
            wrong.append(f"{plan.key} of {plan.organization} (run {row[0]}): {problem}")
    return wrong + [f"{key} of {organization}: nobody asked for this run" for organization, key in rows]


def _loads(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _by_the_oracle(stack: Stack, plan: Plan, run: UUID) -> str | None:
    """A random graph: each of its steps stands where the rules put it, with the result that follows from its sources."""
    if plan.graph is None:
        return None
    try:
        simulated.at_rest(cast(SimulatedFleet, _Seen(stack)), run, plan.graph, cancelled=False)
    except Violation as problem:
        return str(problem)
    return None


class _Seen:
    """A stack as the simulation's verdicts look at a fleet: they ask `database` for rows and for a quiet transaction."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.database = self

    def query(self, statement: str, *parameters: object) -> Sequence[tuple[Any, ...]]:
        for number in range(len(parameters)):
            statement = statement.replace("?", f":p{number}", 1)
        return self._stack.query(statement, **{f"p{number}": value for number, value in enumerate(parameters)})

    def plain(self, text: str | None) -> str | None:
        """Values are small here, and nothing encodes them."""
        return text

    @contextmanager
    def quietly(self) -> Iterator[Tx]:
        with past_the_proxy(self._stack) as context, context.transaction() as tx:
            yield tx
