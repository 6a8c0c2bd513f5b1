"""Two spellings of one workflow have one signature, and whatever can change a run changes it."""

from __future__ import annotations

from typing import Any

import pytest

from wfcelery.definition.model import Definition, canonical_json, signature


def signed(*tasks: dict[str, Any], **more: Any) -> str:
    return signature(Definition.model_validate({"name": "f", "tasks": [{"action": "x", **task} for task in tasks], **more}))


A = {"name": "a"}
B = {"name": "b"}
C = {"name": "c"}

SAME = [
    ((A, {**B, "after": "a"}), (A, {**B, "after": ["a"]})),
    ((A, {**B, "after": "a"}), (A, {**B, "after": [{"task": "a", "ends": ["skipped", "succeeded"]}]})),
    ((A, {**B, "after": [{"a": "failed"}]}), ({**A, "on_failure": "b"}, B)),
    ((A, {**B, "after": [{"a": ["completed"]}]}), ({**A, "on_complete": ["b"]}, B)),
    ((A, {**B, "needs": ["a"], "after": ["a"]}), (A, {**B, "needs": ["a"]})),
    ((A, {**B, "needs": ["a"], "join": "all"}), (A, {**B, "needs": "a"})),
    ((A, B, {**C, "needs": ["a", "b"]}), (B, A, {**C, "needs": ["b", "a"]})),
    (({**A, "timeout": "1m"},), ({**A, "timeout": 60},)),
    (({**A, "retry": {"count": 3}},), ({**A, "retry": {"delay": "1s"}},)),
    (({**A, "when": "{{ parameters.x }}"},), ({**A, "when": "parameters.x"},)),
    (({**A, "input": {"x": "{{parameters.x}}"}},), ({**A, "input": {"x": "{{ parameters.x }}"}},)),
    (({**A, "args": [1]},), ({**A, "input": {"*": [1]}},)),
    (({**A, "label": "A", "description": "says what it does"},), (A,)),
    (({"ref": "a", "name": "A"},), (A,)),
    (({**A, "on_error": "stop"},), (A,)),
    (({**A, "publish": [{"v": 1}]},), ({**A, "publish": {"v": 1}},)),
    (
        ({**A, "decision": [{"when": "vars.x", "next": "b"}, {"default": "c"}]}, B, C),
        ({**A, "decision": [{"when": "{{ vars.x }}", "next": ["b"]}, {"default": True, "next": ["c"]}]}, B, C),
    ),
]


@pytest.mark.parametrize(("one", "other"), SAME, ids=range(len(SAME)))
def test_what_means_the_same_is_signed_the_same(one: Any, other: Any) -> None:
    assert signed(*one) == signed(*other)


DIFFERENT = [
    ((A, B), (A, {**B, "after": "a"})),
    ((A, {**B, "after": "a"}), (A, {**B, "needs": "a"})),
    ((A, {**B, "after": [{"a": "failed"}]}), (A, {**B, "after": [{"a": "timed_out"}]})),
    ((A,), ({**A, "queue": "q"},)),
    ((A,), ({**A, "retry": {}},)),
    ((A,), ({**A, "on_error": "continue"},)),
    ((A,), ({**A, "input": {"x": 1}},)),
    (({**A, "input": {"x": 1}},), ({**A, "input": {"x": "1"}},)),
    ((A, B, {**C, "after": ["a", "b"]}), (A, B, {**C, "after": ["a", "b"], "join": 1})),
    ((A,), ({**A, "commit": "each"},)),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=range(len(DIFFERENT)))
def test_what_means_something_else_is_signed_otherwise(one: Any, other: Any) -> None:
    assert signed(*one) != signed(*other)


@pytest.mark.parametrize(
    "more",
    [
        {"version": "2"},
        {"timeout": 5},
        {"on_error": "continue"},
        {"vars": {"v": 1}},
        {"output": 1},
        {"tags": ["t"]},
        {"parameters": {"x": {}}},
    ],
)
def test_what_a_workflow_says_of_itself_is_signed(more: dict[str, Any]) -> None:
    assert signed(A, **more) != signed(A)


def test_a_schema_in_detail_does_not_change_the_signature_and_the_simple_type_does() -> None:
    typed = {"x": {"type": "object", "properties": {"a": {"type": "string"}}, "title": "X", "required": True}}

    assert signed(A, parameters=typed) == signed(A, parameters={"x": {"type": "object", "required": True}})
    assert signed(A, parameters=typed) != signed(A, parameters={"x": {"type": "array", "required": True}})


def test_the_stored_body_reads_back_as_the_same_definition() -> None:
    definition = Definition.model_validate(
        {
            "name": "f",
            "parameters": {"x": {"type": "object", "properties": {"a": {}}, "default": {"$wf": ["decimal", "1.5"]}}},
            "tasks": [
                {
                    "name": "a",
                    "label": "A",
                    "action": "x",
                    "input": {"d": {"$wf": ["datetime", "2030-01-01T00:00:00+00:00"]}, "l": {"$wf": "mine"}},
                },
                {"name": "p", "type": "parallel", "after": [{"a": "failed"}], "tasks": [{"name": "s", "type": "sleep", "duration": "2d"}]},
            ],
            "output": ["{{ task.s.result }}"],
        }
    )

    again = Definition.model_validate_json(canonical_json(definition))

    assert again == definition
    assert signature(again) == signature(definition)
    assert canonical_json(again) == canonical_json(definition)
