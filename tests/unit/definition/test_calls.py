"""What is wrong with calls of workflows and with loops is told when they are published."""

from __future__ import annotations

import time

import pytest

from wfcelery.authoring.yaml import load_yaml, read_yaml
from wfcelery.definition.bodies import bodies_of, called_by
from wfcelery.definition.call_checks import endless
from wfcelery.definition.model import Definition, canonical_json, signature

WRONG = [
    ("{name: a, type: workflow}", "tasks.a: a task of type workflow names a workflow, or has tasks of its own"),
    ("{name: a, type: workflow, workflow: b, output: 1}", "tasks.a.output: only a task with tasks of its own says what they are worth"),
    ("{name: a, type: workflow, workflow: b, action: c}", "tasks.a.action: a task of type workflow takes no action"),
    ("{name: a, type: workflow, workflow: b, until: x}", "tasks.a.until: a task of type workflow takes no until"),
    ("{name: a, type: workflow, workflow: b, while: x}", "tasks.a.while: a task of type workflow takes no while"),
    ("{name: a, type: workflow, workflow: b, wait: false, with_items: [1]}", "tasks.a.wait: items are waited for"),
    (
        "{name: a, type: workflow, workflow: b, parent_close: leave}",
        "tasks.a.parent_close: it is one of request_cancel,",
    ),
    ("{name: a, type: loop, workflow: b}", "tasks.a: a loop says how long it goes on: until, while or with_items"),
    ("{name: a, type: loop, workflow: b, until: last, while: last}", "tasks.a.until: a loop has an until or a while, not both"),
    ("{name: a, type: loop, workflow: b, until: item}", "tasks.a.until: {{ item }}: item is there only in"),
    (
        "{name: a, action: b, input: {x: '{{ last }}'}}",
        "{{ last }}: last is there only in the input, the until and the while",
    ),
    (
        "{name: a, type: loop, until: last, tasks: [{name: b, actoin: c}]}",
        "tasks.a.tasks.b.actoin: there is no such key",
    ),
    (
        "{name: a, type: loop, until: last, input: {x: 1}, tasks: [{name: b, action: c, input: {y: '{{ parameters.y }}'}}]}",
        "tasks.a.tasks.b.input.y: {{ parameters.y }}: there is no parameter 'y'",
    ),
    ("{name: a, type: workflow, workflow: w}", "tasks: a run of it would never end: w -> w call each other whatever happens"),
    ("{name: a, type: loop, until: last, tasks: [{name: b, type: workflow, workflow: w}]}", "tasks: a run of it would never end"),
]


@pytest.mark.parametrize(("task", "said"), WRONG, ids=[said[:60] for _, said in WRONG])
def test_what_is_wrong_with_a_call_is_told(task: str, said: str) -> None:
    found = [str(problem) for problem in read_yaml(f"name: w\ntasks:\n  - {task}\n")[1]]
    assert any(said in each for each in found), found


def test_recursion_under_a_condition_is_fine() -> None:
    for guard in ('when: "{{ parameters.n > 0 }}"', "with_items: '{{ parameters.list }}', input: {n: 1, list: []}"):
        text = f"name: w\nparameters: {{n: {{}}, list: {{}}}}\ntasks:\n  - {{name: a, type: workflow, workflow: w, {guard}}}\n"
        assert read_yaml(text)[1] == []


def test_a_circle_of_a_thousand_workflows_that_call_each_other_is_found_within_a_second() -> None:
    def definition(number: int) -> Definition:
        document = {"name": f"w{number}", "tasks": [{"name": "a", "type": "workflow", "workflow": f"w{(number + 1) % 1_000}"}]}
        return Definition.model_validate(document)

    known = {f"w{number}": definition(number) for number in range(1_000)}
    began = time.monotonic()
    circle = endless(known["w0"], {}, known.get)
    assert time.monotonic() - began < 1.0
    assert (len(circle), circle[0]) == (1_001, circle[-1])


def test_tasks_of_a_loop_are_a_definition_of_their_own_and_a_part_of_the_signature_around_them() -> None:
    text = "name: w\ntasks:\n  - {name: a, type: loop, until: last, input: {x: 1}, tasks: [{name: b, action: %s}]}\n"
    one, other = load_yaml(text % "c"), load_yaml(text % "d")
    assert signature(one) != signature(other)
    (body,) = bodies_of(one)
    assert (body.name, list(body.parameters)) == ("w.a", ["x"])
    assert signature(Definition.model_validate_json(canonical_json(body))) == signature(body)
    assert signature(Definition.model_validate_json(canonical_json(one))) == signature(one)
    assert called_by(load_yaml(text.replace("action: %s", "type: workflow, workflow: k"))) == ("k",)
