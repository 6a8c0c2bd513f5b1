"""A run once more: from its beginning with another input, or from one of its steps with what stood before it."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from tests.engine.machine import Machine
from tests.store.rows import look
from wfcelery.authoring.yaml import load_yaml
from wfcelery.clock import uuid7
from wfcelery.definition.model import canonical_json, signature
from wfcelery.engine import executing
from wfcelery.engine.dispatching import drain
from wfcelery.engine.ports import Call, Outcome, Raised, Returned
from wfcelery.errors import InvalidInput, KeyConflict, NotAllowedNow, NotFound
from wfcelery.service.context import Context
from wfcelery.service.replaying import Again, replay, rerun
from wfcelery.settings import Settings
from wfcelery.store import definitions
from wfcelery.store.database import Database
from wfcelery.store.inbox import put
from wfcelery.store.starting import NewRun, insert_run

ORDER = """
name: order
version: "1"
parameters: {total: {type: integer, required: true}, to: {type: string, default: home}}
vars: {seen: 0}
tasks:
  - {name: pay, action: pay, input: {total: "{{ parameters.total }}"}, publish: {seen: "{{ task.pay.result }}"},
     decision: [{when: "{{ parameters.total > 10 }}", next: [check]}, {default: true, next: [wrap]}]}
  - {name: check, action: check, on_success: wrap}
  - {name: rest, type: sleep, duration: 0s}
  - {name: pack, action: pack, with_items: [0, 1, 2], input: {x: "{{ item }}"}}
  - {name: wrap, action: wrap, after: [pack, rest]}
  - {name: ship, action: ship, needs: [wrap], input: {packs: "{{ task.pack.results }}", seen: "{{ vars.seen }}"}}
  - {name: mail, action: mail, after: [ship]}
output: {packs: "{{ task.pack.results }}", ship: "{{ task.ship.result }}", seen: "{{ vars.seen }}"}
"""


def _worth(machine: Machine, call: Call) -> Outcome:
    return Returned(f"{call.name}{'' if call.item < 0 else call.item}:{call.run.hex[-2:]}")


def _started(machine: Machine, total: int = 20, key: str | None = None) -> UUID:
    [(signed,)] = look(machine.database, "select signature from wf_definition where version = '1'")
    new = NewRun(uuid7(), "default", "order", signed, json.dumps({"total": total, "to": "home"}), "d", key=key, tags=["vip"])
    with machine.database.transaction() as tx:
        assert insert_run(tx, new)
    machine.run = new.id
    return new.id


def _ran(database: Database, meanwhile: Any = _worth, text: str = ORDER) -> tuple[Machine, Context]:
    machine = Machine(database, text, meanwhile)
    _started(machine)
    machine.work()
    machine.calls.clear()
    return machine, Context(database, Settings())


def _output(database: Database, run: UUID) -> Any:
    [(output,)] = look(database, "select output from wf_run where id = :run", run=run)
    return json.loads(output)


def _rows(database: Database, run: UUID) -> dict[str, tuple[str, str | None]]:
    found = look(database, "select name, status, output from wf_step where run = :run and item < 0", run=run)
    return {name: (status, output) for name, status, output in found}


def test_what_stands_before_the_step_is_taken_over_and_the_rest_runs_anew(database: Database) -> None:
    machine, context = _ran(database)
    old = machine.run
    before = _rows(database, old)
    new = machine.run = rerun(context, old, "ship", Again(by="ada"))
    assert machine.work() == "succeeded"
    assert machine.calls == {"ship": 1, "mail": 1}
    tail = old.hex[-2:]
    assert _output(database, new) == {"packs": [f"pack{n}:{tail}" for n in range(3)], "ship": f"ship:{new.hex[-2:]}", "seen": f"pay:{tail}"}
    assert not machine.problems()
    assert _rows(database, old) == before, "the old run stays as it is"
    [(tags,)] = look(database, "select tags from wf_run where id = :run", run=new)
    assert json.loads(tags) == ["vip", f"rerun_of:{old}"]
    assert look(database, "select count(*), count(distinct run) from wf_audit where verb = 'rerun' and actor = 'ada'") == [(2, 2)]
    machine.calls.clear()
    machine.run = rerun(context, new, "mail", Again())
    assert machine.work() == "succeeded"
    assert machine.calls == {"mail": 1}, "what was taken over is taken over again"
    assert not machine.problems()


def test_what_did_not_succeed_runs_anew_wherever_it_stands_and_a_failed_item_takes_its_fan_out_with_it(database: Database) -> None:
    bad = ["pack"]

    def meanwhile(machine: Machine, call: Call) -> Outcome:
        broken = call.name in bad and call.item == 1
        return Raised({"type": "Oops", "code": None, "message": ""}, final=True) if broken else _worth(machine, call)

    machine, context = _ran(database, meanwhile)
    assert machine.status() == "failed"
    bad.clear()
    machine.run = rerun(context, machine.run, "mail", Again())
    assert machine.work() == "succeeded"
    assert machine.calls["pay"] == machine.calls["check"] == 0
    assert machine.calls["pack[0]"] == machine.calls["pack[1]"] == machine.calls["wrap"] == machine.calls["ship"] == 1
    assert not machine.problems()


def test_what_went_on_beside_a_failure_runs_anew_with_what_had_failed(database: Database) -> None:
    bad = ["pack"]

    def meanwhile(machine: Machine, call: Call) -> Outcome:
        broken = call.name in bad and call.item == 1
        return Raised({"type": "Oops", "code": None, "message": ""}, final=True) if broken else _worth(machine, call)

    machine, context = _ran(database, meanwhile, ORDER.replace("action: pack,", "action: pack, on_error: continue,"))
    assert machine.status() == "succeeded"
    bad.clear()
    machine.run = rerun(context, machine.run, "mail", Again())
    assert machine.work() == "succeeded"
    anew = [*(f"pack[{number}]" for number in range(3)), "wrap", "ship", "mail"]
    assert machine.calls == dict.fromkeys(anew, 1)
    assert not machine.problems()


def test_a_step_that_was_skipped_by_hand_stays_skipped(database: Database) -> None:
    def meanwhile(machine: Machine, call: Call) -> Outcome:
        return Raised({"type": "Oops", "code": None, "message": ""}, final=True) if call.name == "check" else _worth(machine, call)

    machine, context = _ran(database, meanwhile)
    machine.put("skip", task="check", reason="no need", by=None)
    drain(machine.runtime, machine.run)
    assert machine.work() == "succeeded"
    machine.calls.clear()
    machine.run = rerun(context, machine.run, "mail", Again())
    assert machine.work() == "succeeded"
    assert machine.calls["check"] == 0
    assert _rows(database, machine.run)["check"] == ("skipped", None)
    assert not machine.problems()


def test_what_a_run_begins_with_waits_until_it_begins(database: Database) -> None:
    machine, _ = _ran(database)
    old = machine.run
    _started(machine, key="later")
    later = "clock_timestamp() + interval '1 day'" if database.dialect == "postgresql" else "unixepoch() + 86400"
    with database.engine.connect() as connection:
        connection.exec_driver_sql(f"update wf_run set due_at = {later} where key = 'later'")
        connection.commit()
    with database.transaction() as tx:
        put(tx, "default", machine.run, "take_over", {"run": str(old), "names": ["pay", "pack"], "skipped": []})
    drain(machine.runtime, machine.run)
    assert look(database, "select fact from wf_inbox") == [("take_over",)]
    with database.engine.connect() as connection:
        connection.exec_driver_sql("update wf_run set due_at = created_at where key = 'later'")
        connection.commit()
    machine.calls.clear()
    assert machine.work() == "succeeded"
    assert machine.calls["pay"] == 0
    assert machine.calls["ship"] == 1


def test_a_replay_is_the_same_run_once_more_with_an_edited_input_by_the_newest_definition(database: Database) -> None:
    machine, context = _ran(database)
    old = machine.run
    newer = load_yaml(ORDER.replace('version: "1"', 'version: "2"').replace("total > 10", "total > 1000"))
    with database.transaction() as tx:
        definitions.store(tx, signature(newer), "order", "2", canonical_json(newer), strict=False)
    machine.run = replay(context, old, Again([{"op": "replace", "path": "/total", "value": 500}], key="again", by="ada"))
    assert machine.work() == "succeeded"
    assert machine.calls["check"] == 0, "the newest definition asks for more"
    [(given,)] = look(database, "select input from wf_run where key = 'again'")
    assert json.loads(given) == {"total": 500, "to": "home"}
    machine.run = replay(context, old, Again(set={"to": "work"}), same_version=True)
    assert machine.work() == "succeeded"
    assert machine.calls["check"] == 1
    assert look(database, "select count(*) from wf_audit where verb = 'replay'") == [(4,)]
    with pytest.raises(KeyConflict):
        replay(context, old, Again(key="again"))


def test_what_cannot_be_run_again_says_why_before_anything_is_written(database: Database) -> None:
    machine, context = _ran(database)
    many = look(database, "select count(*) from wf_run")
    with pytest.raises(NotFound, match="pack"):
        rerun(context, machine.run, "packs", Again())
    for again in (
        Again(set={"total": "many"}),
        Again([{"op": "remove", "path": "/total"}]),
        Again(set={"totl": 5}),
        Again([{"op": "replace", "path": "", "value": 5}]),
    ):
        with pytest.raises(InvalidInput):
            replay(context, machine.run, again)
    _started(machine)
    with pytest.raises(NotAllowedNow):
        rerun(context, machine.run, "ship", Again())
    with pytest.raises(NotFound):
        replay(context, uuid7(), Again())
    assert look(database, "select count(*) from wf_run") == [(many[0][0] + 1,)]
    executing.dispatch(machine.runtime, "default", machine.run)
