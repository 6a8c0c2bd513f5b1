"""Variables: publishes apply in the order of the run's history, the last commit wins, on every database."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.engine.machine import Machine
from tests.store.rows import change, look, started
from wfcelery.authoring.yaml import load_yaml, load_yaml_file
from wfcelery.core.decision import RingRun
from wfcelery.definition.problems import problems
from wfcelery.definition.values import loads
from wfcelery.engine.ports import Call, Outcome, Raised, Returned
from wfcelery.store.database import Database

PAGE = Path(__file__).parents[2] / "docs/reference/data.md"
PARALLEL = """
name: order
vars: {last: nobody, count: 0}
tasks:
  - {name: left, action: l, publish: {last: left, count: "{{ vars.count + 1 }}"}}
  - {name: right, action: r, publish: {last: right, count: "{{ vars.count + 1 }}"}}
  - {name: joined, action: j, after: [left, right], input: {last: "{{ workflow.last }}", count: "{{ variables.count }}"}}
output: {last: "{{ vars.last }}", items: "{{ vars.count }}"}
"""


def outcome(machine: Machine) -> Any:
    [(text,)] = look(machine.database, "select output from wf_run where id = :run", run=machine.run)
    return loads(text)


def published(machine: Machine) -> list[str]:
    """Who has published, in the order of the history."""
    rows = look(machine.database, "select facts from wf_history where run = :run order by version", run=machine.run)
    return [fact["by"] for (facts,) in rows for fact in json.loads(facts) if fact["fact"] == "variables_set" and "by" in fact]


@pytest.mark.parametrize("backwards", [False, True], ids=["left first", "right first"])
def test_of_two_that_publish_one_name_the_last_commit_wins(database: Database, backwards: bool) -> None:
    seen: list[Any] = []

    def call(machine: Machine, call: Call) -> Outcome | None:
        if call.name == "joined":
            seen.append(call.input)
        return None

    machine = Machine(database, PARALLEL, call)
    machine.keeps = False
    machine.rings.append(RingRun("default", machine.run, "celery"))
    machine.answer_one()
    machine.rings.sort(key=lambda ring: getattr(ring, "name", ""), reverse=backwards)
    assert machine.work() == "succeeded"
    order = published(machine)
    assert order == (["right", "left"] if backwards else ["left", "right"])
    assert outcome(machine) == {"last": order[-1], "items": 2}
    assert seen == [{"last": order[-1], "count": 2}], "what a step is given is worked out when it becomes ready"
    assert not machine.problems()


def test_two_that_may_publish_one_name_at_once_are_told_when_the_definition_is_published() -> None:
    told = [str(each) for each in problems(load_yaml(PARALLEL)) if each.severity == "warning"]
    assert len(told) == 2
    assert all("at the same time; the last to commit wins" in each for each in told)


def test_a_step_that_fails_publishes_nothing_and_one_that_cannot_publish_all_publishes_none(database: Database) -> None:
    text = """
name: order
vars: {a: 1, b: 1}
tasks:
  - {name: fails, action: f, on_error: continue, publish: {a: 2}}
  - {name: wrong, action: w, after: [{fails: [failed]}], publish: {b: 2, a: "{{ task.wrong.result.nothing }}"}}
"""
    machine = Machine(
        database, text, lambda _, call: Raised({"type": "E", "code": None, "message": "m"}, final=True) if call.name == "fails" else None
    )
    assert machine.work() == "failed"
    [(variables,)] = look(database, "select variables from wf_run")
    assert loads(variables) == {"a": 1, "b": 1}
    assert published(machine) == []
    assert not machine.problems()


def test_the_scopes_of_the_page_lead_where_it_says(database: Database) -> None:
    text = """
name: scoped
parameters: {items: {type: array}}
vars: {items: 1, keys: "{{ vars.items + 1 }}"}
tasks:
  - {name: many, action: m, with_items: "{{ parameters.items }}", on_error: continue, input: {n: "{{ item }}", at: "{{ index }}"}}
  - name: told
    action: t
    after: [many]
    input:
      again: ["{{ vars.keys }}", "{{ variables.keys }}", "{{ workflow.keys }}"]
      ends: ["{{ task.many.status }}", "{{ tasks.many.failed_items }}", "{{ task.many.results[1].error.message }}"]
      system: ["{{ system.workflow }}", "{{ system.version }}", "{{ system.organization_id }}", "{{ system.key }}", "{{ system.run_id }}"]
"""
    seen: list[Any] = []

    def call(machine: Machine, call: Call) -> Outcome:
        if call.name == "told":
            seen.append(call.input)
        return Raised({"type": "E", "code": None, "message": "m"}, final=True) if call.item == 1 else Returned(call.input)

    machine = Machine(database, text, call)
    [(definition,)] = look(database, "select definition from wf_run")
    change(database, "delete from wf_run")
    machine.run = started(database, definition=definition, workflow="scoped", input='{"items":[5,6]}', key="k")
    assert machine.work() == "succeeded"
    assert seen == [{"again": [2, 2, 2], "ends": ["succeeded", [1], "m"], "system": ["scoped", "1", "default", "k", str(machine.run)]}]


def test_the_definitions_of_the_page_are_executed(database: Database, tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    for number, block in enumerate(blocks):
        (tmp_path / f"{number}.yaml").write_text(block, encoding="utf-8")
        assert not [each for each in problems(load_yaml_file(tmp_path / f"{number}.yaml")) if each.severity == "error"]
    counted = _run_of(database, blocks[0], '{"rows":[1,2]}', lambda call: Returned(len(call.input["rows"])))
    assert counted == {"seen": 4, "last": "right"}
    bought = _run_of(
        database, blocks[1], '{"card":{"number":"1","holder":"a"}}', lambda call: Returned({"token": call.input["card"]["number"]})
    )
    assert bought == {"token": "1"}


def _run_of(database: Database, text: str, given: str, answer: Any) -> Any:
    machine = Machine(database, text, lambda _, call: answer(call))
    [(definition,)] = look(database, "select definition from wf_run where id = :run", run=machine.run)
    machine.run = started(database, definition=definition, input=given)
    assert machine.work() == "succeeded"
    return outcome(machine)
