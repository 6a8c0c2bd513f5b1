"""A run goes on by another version of its workflow: by the real engine, on both databases."""

from __future__ import annotations

from tests.engine.machine import Machine
from tests.store.rows import look
from wfcelery.authoring.yaml import load_yaml
from wfcelery.core.events import MoveAsked
from wfcelery.definition.model import canonical_json, signature
from wfcelery.engine.apply import rehearse
from wfcelery.engine.dispatching import drain
from wfcelery.engine.ports import Call, Outcome
from wfcelery.store import definitions
from wfcelery.store.database import Database

HEAD = "name: order\nversion: '{version}'\nparameters: {{}}\ntasks:\n"
FIRST = (
    HEAD.format(version=1)
    + """
  - {name: pay, action: a}
  - {name: rest, type: sleep, duration: 1h, after: [pay]}
  - {name: pack, action: a, after: [pay]}
  - {name: ship, action: a, after: [rest, pack]}
"""
)

THANK = "  - {name: thank, action: a, after: [rest]}\n"


def stored(machine: Machine, text: str) -> str:
    definition = load_yaml(text)
    with machine.database.transaction() as tx:
        definitions.store(tx, signature(definition), definition.name, definition.version, canonical_json(definition), strict=False)
    return signature(definition)


def begun(database: Database, text: str = FIRST) -> Machine:
    """A run of the first version that waits for its sleep: pay and pack have succeeded, ship is blocked by one of two."""
    machine = Machine(database, text)
    machine.keeps = False
    drain(machine.runtime, machine.run)
    machine.answer()
    return machine


def steps(machine: Machine) -> dict[str, str]:
    rows = look(machine.database, "select name, status from wf_step where run = :run order by id", run=machine.run)
    return {str(name): str(status) for name, status in rows}


def moved(machine: Machine, text: str) -> list[str]:
    """Move the run to this version; what the history says against it."""
    to = stored(machine, text)
    with machine.database.transaction() as tx:
        rehearsal = rehearse(tx, machine.runtime.plans, machine.run, [MoveAsked(to)])
    assert rehearsal is not None
    machine.put("move", to=to, by="ada")
    applied = drain(machine.runtime, machine.run)
    assert applied is not None
    assert [fact["fact"] for fact in applied.decision.facts] == [fact["fact"] for fact in rehearsal.facts]
    assert machine.problems() == []
    [now] = look(machine.database, "select definition from wf_run where id = :run", run=machine.run)
    refused = [why for fact in applied.decision.facts if fact["fact"] == "move_refused" for why in fact["why"]]
    assert (now[0] == to) is not bool(refused)
    return refused


def ended(machine: Machine) -> dict[str, str]:
    """Wake every sleep, and work until the run has ended."""
    with machine.database.engine.begin() as connection:
        connection.exec_driver_sql("update wf_wait set due_at = " + ("0" if machine.database.dialect == "sqlite" else "now()"))
    assert machine.work() == "succeeded"
    assert machine.problems() == []
    return steps(machine)


def test_what_is_not_reached_yet_is_the_new_versions(database: Database) -> None:
    machine = begun(database)
    assert steps(machine) == {"pay": "succeeded", "rest": "waiting", "pack": "succeeded", "ship": "blocked"}
    assert moved(machine, FIRST.replace("'1'", "'2'") + "  - {name: thank, action: a, after: [ship]}\n") == []
    assert ended(machine) == dict.fromkeys(("pay", "rest", "pack", "ship", "thank"), "succeeded")


def test_a_task_that_is_new_behind_what_has_ended_begins_at_once(database: Database) -> None:
    machine = begun(database)
    assert moved(machine, FIRST.replace("'1'", "'2'") + "  - {name: invoice, action: a, after: [pay]}\n") == []
    assert steps(machine)["invoice"] == "ready"
    assert ended(machine)["invoice"] == "succeeded"


def test_a_blocked_task_to_which_other_ways_lead_is_counted_anew(database: Database) -> None:
    text = """
  - {name: pay, action: a}
  - {name: rest, type: sleep, duration: 1h, after: [pay]}
  - {name: pack, action: a, after: [pay]}
  - {name: weigh, action: a, after: [pack]}
  - {name: call, type: sleep, duration: 1h, after: [pay]}
  - {name: ship, action: a, after: [rest, pack, weigh, call]}
"""
    machine = begun(database)
    assert moved(machine, HEAD.format(version=2) + text) == []
    [(blockers,)] = look(machine.database, "select blockers from wf_step where run = :run and name = 'ship'", run=machine.run)
    assert blockers == 3, "of four ways one has come"
    assert ended(machine) == dict.fromkeys(("pay", "rest", "pack", "weigh", "call", "ship"), "succeeded")


def test_a_blocked_task_that_nothing_holds_up_any_more_begins(database: Database) -> None:
    machine = begun(database)
    assert moved(machine, FIRST.replace("'1'", "'2'").replace("after: [rest, pack]", "after: [pack]") + THANK) == []
    assert steps(machine)["ship"] == "ready"
    assert ended(machine)["ship"] == "succeeded"


def test_everything_that_forbids_a_move_is_told_at_once_and_nothing_moves(database: Database) -> None:
    machine = begun(database)
    wrong = """name: order
version: '2'
parameters: {who: {type: string, required: true}}
tasks:
  - {name: pay, type: sleep, duration: 1s}
  - {name: rest, type: sleep, duration: 2h, after: [pay]}
  - {name: ship, action: a, after: [rest]}
"""
    assert moved(machine, wrong) == [
        "parameter who is required, and the run was started without it",
        "task pay has ended as action, and is sleep in the new version",
        "task pack has ended, and the new version has no such task",
        "task ship waits for others, and in the new version for one alone, which has not ended",
    ]
    assert ended(machine)["ship"] == "succeeded", "it goes on as it was"


def test_what_a_decision_chose_is_not_guessed(database: Database) -> None:
    text = """name: order
version: '1'
tasks:
  - {name: pay, action: a, decision: [{when: "task.pay.result == 'pay'", next: rest}, {default: no}]}
  - {name: rest, type: sleep, duration: 1h}
  - {name: no, action: a}
  - {name: thank, action: a, after: [rest]}
"""
    machine = begun(database, text)
    more = text.replace("'1'", "'2'").replace("next: rest", "next: [rest, more]") + "  - {name: more, action: a}\n"
    assert moved(machine, more) == ["task pay has ended, and whether its decision would have led to more is not known any more"]
    assert moved(machine, text.replace("'1'", "'2'") + "  - {name: more, action: a, after: [rest]}\n") == []


def test_a_parameter_that_is_new_has_its_default(database: Database) -> None:
    machine = begun(database)
    text = FIRST.replace("'1'", "'2'").replace("parameters: {}", "parameters: {word: {type: string, default: hello}}")
    assert moved(machine, text + 'output: "{{ parameters.word }}"\n') == []
    ended(machine)
    [(output,)] = look(machine.database, "select output from wf_run where id = :run", run=machine.run)
    assert output == '"hello"'


def test_a_run_is_moved_while_its_step_is_executed(database: Database) -> None:
    """The attempt ends by what it was called with; what comes after it is the new version's."""
    text = FIRST.replace("'1'", "'2'") + "  - {name: thank, action: a, after: [pack]}\n"

    def meanwhile(machine: Machine, call: Call) -> Outcome | None:
        if call.name == "pack" and machine.calls["pack"] == 1:
            machine.put("move", to=stored(machine, text), by=None)
            drain(machine.runtime, machine.run)
        return None

    machine = Machine(database, FIRST, meanwhile)
    drain(machine.runtime, machine.run)
    machine.answer()
    machine.answer()
    assert steps(machine)["thank"] in ("ready", "running", "succeeded")
    assert ended(machine)["thank"] == "succeeded"


def test_a_paused_run_is_moved_and_holds_what_the_move_makes_ready(database: Database) -> None:
    machine = begun(database)
    machine.put("pause", reason="r", by=None)
    drain(machine.runtime, machine.run)
    assert moved(machine, FIRST.replace("'1'", "'2'") + "  - {name: invoice, action: a, after: [pay]}\n") == []
    assert steps(machine)["invoice"] == "held"
    machine.put("resume", by=None)
    assert ended(machine)["invoice"] == "succeeded"
