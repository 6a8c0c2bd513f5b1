"""Real runs, made by the engine in this process, on which nothing is wrong: ended ones, and some that are under way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from tests.engine.machine import Machine
from tests.store.rows import ago, change, look, run_of, started
from wfcelery.clock import uuid7
from wfcelery.core.decision import RingRun, RingStep
from wfcelery.core.draft import digest
from wfcelery.core.schedules import Turn
from wfcelery.definition.values import dumps
from wfcelery.engine import executing
from wfcelery.engine.ports import Call, Outcome, Raised, Returned
from wfcelery.service.invariants import Carried, Effect, Ledgers, Start
from wfcelery.store import events, leases, schedules
from wfcelery.store.database import Database
from wfcelery.store.schedules import Terms
from wfcelery.store.transactional import report

ORDER = """
name: order
vars: {total: 3}
tasks:
  - {name: a, action: a, on_success: [b, skipped]}
  - {name: skipped, action: s, when: "{{ vars.total > 500 }}"}
  - {name: b, action: b, retry: {count: 2, delay: 0, jitter: false}, on_success: [c]}
  - {name: c, action: c, retry: {count: 2, delay: 0.02, jitter: false}, on_success: [left, right]}
  - {name: left, action: l, timeout: 8, retry: {count: 2, delay: 0, jitter: false}, on_success: [joined]}
  - {name: right, type: sleep, duration: 0s, on_success: [joined]}
  - {name: joined, action: j, on_success: [pack]}
  - {name: pack, action: p, with_items: [1, 2, 3, 4], concurrency: 2, input: {x: "{{ item }}"}, on_success: [last]}
  - {name: last, action: z, on_error: continue}
"""

FAILED = """
name: failed
tasks:
  - {name: slow, action: slow, on_success: [never]}
  - {name: never, action: never}
  - {name: bad, action: bad}
"""

UNDONE = """
name: undone
tasks:
  - {name: first, action: first, compensate: back}
  - {name: second, action: second, after: first, compensate: back}
  - {name: bad, action: bad, after: second}
"""

OPEN = """
name: open
tasks:
  - {name: asleep, type: sleep, duration: 1h, on_success: [both]}
  - {name: done, action: d, on_success: [both]}
  - {name: both, action: both}
  - {name: again, action: again, retry: {count: 2, delay: 1h}}
  - {name: busy, action: busy}
  - {name: calls, type: workflow, tasks: [{name: nap, type: sleep, duration: 1h}, {name: wake, action: w, after: [nap]}]}
  - {name: pack, action: p, with_items: [1, 2, 3, 4], concurrency: 2, input: {x: "{{ item }}"}}
"""

REPORTED = """
name: reported
tasks:
  - {name: pay, action: pay}
"""

HEARD = """
name: heard
tasks:
  - {name: news, type: wait, event: news, key: today}
  - {name: told, action: t, after: news}
"""

ASKED = """
name: asked
tasks:
  - {name: ask, type: approval, title: May it, assignees: [ada]}
  - {name: side, action: side}
  - {name: behind, action: b, after: [ask, side]}
"""

CALLED_OFF = """
name: called_off
tasks:
  - {name: slow, type: sleep, duration: 1h, region: waiting}
  - {name: never, action: n, region: waiting, after: slow}
  - {name: quick, action: q, cancels: waiting}
  - {name: behind, action: b, after: quick}
"""

KINDS = {("order", "a"): "transactional", ("order", "b"): "idempotent", ("reported", "pay"): "transactional"}
ERROR = {"type": "Oops", "code": None, "message": "no luck"}


class Killed(BaseException):
    """The process of an attempt is gone in the middle of it."""


@dataclass(slots=True)
class Clean:
    """The runs by the names of their workflows, and the ledgers that go with them."""

    database: Database
    runs: dict[str, UUID]
    ledgers: Ledgers
    ended: tuple[str, ...] = ("order", "failed", "heard")


def clean(database: Database) -> Clean:
    """Make them all. Those under way come last: no sweep comes after, which would find that nobody executes them."""
    effects: dict[UUID, list[Effect]] = {}
    runs = {
        "order": _worked_off(database, ORDER, effects, _order),
        "failed": _worked_off(database, FAILED, effects, _failed),
        "undone": _worked_off(database, UNDONE, effects, _failed),
    }
    with database.transaction() as tx:
        events.insert(tx, events.NewEvent(uuid7(), "default", "news", "today", "1"))
    runs["heard"] = _worked_off(database, HEARD, effects, lambda *_: None)
    runs["asked"] = _worked_off(database, ASKED, effects, _answers)
    runs["called_off"] = _worked_off(database, CALLED_OFF, effects, lambda *_: None)
    runs["open"] = _killed(database, OPEN, effects, {"busy", "pack"})
    pays = reported(database, effects)
    runs["reported"] = pays.run
    runs["later"] = started(
        database, definition=run_of(database, pays.run).definition, input="{}", workflow="reported", key="k", delay=3600.0
    )
    _scheduled(database, runs["later"])
    starts = [Start("answered", run, input="d") for run in runs.values()]
    starts.append(Start("answered", runs["later"], key="k", workflow="reported"))
    tap = [Carried({"v": 1, "ns": "x", "org": "default", "run": str(run), "step": None}, 120) for run in runs.values()]
    return Clean(database, runs, Ledgers(effects=effects, kinds=KINDS, starts=starts, tap=tap, canaries=("canary-7",)))


def _scheduled(database: Database, run: UUID) -> None:
    """A schedule, two of whose slots have come: one was started, one skipped."""
    terms = Terms("reported", "{}", None, 3600, "UTC", "skip", 86_400.0)
    with database.transaction() as tx:
        now = schedules.now(tx)
        first, second = now - timedelta(hours=2), now - timedelta(hours=1)
        assert schedules.insert(tx, uuid7(), "default", "hourly", terms, first, None)
        found = schedules.find(tx, "default", "hourly")
        assert found is not None
        turn = Turn(now + timedelta(days=300), None, now + timedelta(days=300), start=first, skipped=(second,))
        assert schedules.move(tx, found, turn, [], run)


Meanwhile = Callable[[Machine, Call], Outcome | None]


def _machine(database: Database, text: str, effects: dict[UUID, list[Effect]], author: Meanwhile) -> Machine:
    """A machine that keeps no step, renews its lease for an hour, and writes down what its steps do."""

    def meanwhile(machine: Machine, call: Call) -> Outcome | None:
        def tell(phase: str, result: str | None = None) -> None:
            told = effects.setdefault(call.run, [])
            if call.item < 0:
                told.append(Effect(call.key, call.run, call.name, call.attempt, call.token, phase, result=result))

        tell("begun")
        outcome = author(machine, call) or Returned(call.name)
        if isinstance(outcome, Returned):
            tell("applied")
            tell("ended", digest(outcome.value) if call.name == "c" else None)
        return outcome

    machine = Machine(database, text, meanwhile)
    machine.keeps = False
    workflow = text.split()[1]
    change(database, "update wf_run set workflow = :name where id = :run", name=workflow, run=machine.run)
    _renew(machine)
    machine.rings.append(RingRun("default", machine.run, "celery"))
    return machine


def _worked_off(database: Database, text: str, effects: dict[UUID, list[Effect]], author: Meanwhile) -> UUID:
    machine = _machine(database, text, effects, author)
    assert machine.work() in ("succeeded", "failed")
    assert machine.problems() == []
    return machine.run


def _order(machine: Machine, call: Call) -> Outcome | None:
    if call.name in ("b", "c") and call.attempt == 1:
        return Raised(ERROR)
    if call.name == "left" and call.attempt == 1:
        _renew(machine)
        change(machine.database, f"update wf_step set claimed_at = {ago(machine.database, 9)} where id = :step", step=call.step)
        change(machine.database, f"update wf_step set deadline_at = {ago(machine.database, 1)} where id = :step", step=call.step)
        machine.sweep()
    return Raised(ERROR) if call.name == "last" else None


def _failed(machine: Machine, call: Call) -> Outcome | None:
    """`bad` fails while `slow` executes."""
    if call.name == "slow":
        bad = next(ring for ring in machine.rings if isinstance(ring, RingStep))
        machine.rings.remove(bad)
        executing.execute(machine.runtime, bad.organization_id, bad.step)
    return Raised(ERROR) if call.name == "bad" else None


def _answers(machine: Machine, call: Call) -> None:
    """While `side` executes, somebody approves and somebody else comes too late."""
    if call.name == "side":
        for verb in ("approve", "reject"):
            machine.put(verb, task="ask", by="ada", roles=[], comment=None, form=None)
        machine.rings.append(RingRun("default", machine.run, "celery"))


def _killer(names: set[str]) -> Meanwhile:
    def author(machine: Machine, call: Call) -> Outcome | None:
        if call.name in names:
            machine.rings = [ring for ring in machine.rings if not isinstance(ring, RingStep) or ring.name != call.action]
            raise Killed
        return Raised(ERROR) if call.name == "again" else None

    return author


def _killed(database: Database, text: str, effects: dict[UUID, list[Effect]], names: set[str]) -> UUID:
    machine = _machine(database, text, effects, _killer(names))
    _until_killed(machine)
    return machine.run


def _until_killed(machine: Machine) -> None:
    machine.rings = machine.rings[:1]
    while machine.rings:
        with suppress(Killed):
            machine.answer()


def reported(database: Database, effects: dict[UUID, list[Effect]]) -> Machine:
    """A step's own transaction has landed, and its worker died before it could advance the run."""
    machine = _machine(database, REPORTED, effects, _killer({"pay"}))
    _until_killed(machine)
    [(step, token)] = look(database, "select id, token from wf_step where run = :run", run=machine.run)
    with database.transaction() as tx:
        report(tx, "default", machine.run, UUID(str(step)), UUID(str(token)), dumps("paid"))
    effects[machine.run] += [replace(each, phase=phase) for each in effects[machine.run] for phase in ("applied", "ended")]
    return machine


def _renew(machine: Machine) -> None:
    with machine.database.transaction() as tx:
        leases.renew(tx, machine.worker, machine.tokens.keys(), 3600.0)
