"""The plan: which edges there are, what they accept, what they count."""

from __future__ import annotations

import time
from typing import Any

import pytest

from wfcelery.definition.compile import compile_plan
from wfcelery.definition.model import Definition
from wfcelery.definition.plan import Edge, Plan
from wfcelery.errors import DefinitionProblems

USUAL = {"succeeded", "skipped"}
COMPLETED = {"succeeded", "failed", "timed_out", "skipped"}


def plan_of(*tasks: dict[str, Any], **more: Any) -> Plan:
    return compile_plan(
        Definition.model_validate(
            {"name": "f", "tasks": [{"action": "x", **task} if "type" not in task else task for task in tasks], **more}
        )
    )


def edge(plan: Plan, source: str, target: str) -> Edge:
    (found,) = (edge for edge in plan.nodes[target].inbound if edge.source == source)
    assert found in plan.nodes[source].outbound
    return found


def test_after_accepts_a_success_and_a_skip_needs_only_a_success() -> None:
    plan = plan_of({"name": "a"}, {"name": "b", "after": "a"}, {"name": "c", "needs": "a"}, {"name": "d", "after": "a", "needs": "a"})

    assert edge(plan, "a", "b").required == USUAL
    assert edge(plan, "a", "c").required == {"succeeded"}
    assert edge(plan, "a", "d").required == {"succeeded"}
    assert [edge(plan, "a", name).counted for name in "bcd"] == [True, False, False]
    assert plan.entries == ("a",)


def test_a_source_that_continues_is_accepted_when_it_failed() -> None:
    plan = plan_of({"name": "a", "on_error": "continue"}, {"name": "b", "after": "a"}, {"name": "c", "needs": "a"})

    assert edge(plan, "a", "b").required == COMPLETED
    assert edge(plan, "a", "c").required == COMPLETED - {"skipped"}
    assert plan.nodes["a"].on_error == "continue"


def test_a_workflow_and_a_block_say_what_their_tasks_do_on_error() -> None:
    plan = plan_of(
        {"name": "a"},
        {
            "name": "p",
            "type": "parallel",
            "on_error": "stop",
            "tasks": [{"name": "b", "action": "x"}, {"name": "c", "action": "x", "on_error": "continue"}],
        },
        on_error="continue",
    )

    assert [plan.nodes[name].on_error for name in "abc"] == ["continue", "stop", "continue"]


def test_transitions_are_counted_and_handle_failures() -> None:
    plan = plan_of(
        {"name": "a", "on_success": "z", "on_failure": "z", "on_timeout": "t"},
        {"name": "b", "on_success": "z"},
        {"name": "z", "after": "t"},
        {"name": "t"},
    )

    assert edge(plan, "a", "z").transition == {"succeeded", "failed"}
    assert edge(plan, "a", "z").counted
    assert edge(plan, "b", "z").counted
    assert not edge(plan, "t", "z").counted
    assert plan.nodes["a"].handles == {"failed", "timed_out"}
    assert plan.nodes["b"].handles == set()


def test_after_with_ends_handles_them() -> None:
    plan = plan_of({"name": "a"}, {"name": "b", "after": [{"a": ["failed", "cancelled"]}]})

    assert plan.nodes["a"].handles == {"failed", "cancelled"}
    assert edge(plan, "a", "b").required == {"failed", "cancelled"}


def test_decision_branches_are_numbered_and_the_default_has_no_condition() -> None:
    plan = plan_of(
        {"name": "a", "decision": [{"when": "task.a.result > 1", "next": ["b", "c"]}, {"when": "vars.x", "next": "b"}, {"default": "c"}]},
        {"name": "b"},
        {"name": "c"},
    )

    conditions = plan.nodes["a"].decision
    assert [None if condition is None else condition.source for condition in conditions] == ["task.a.result > 1", "vars.x", None]
    assert edge(plan, "a", "b").branches == {0, 1}
    assert edge(plan, "a", "c").branches == {0, 2}
    assert edge(plan, "a", "b").fires("succeeded", 1)
    assert not edge(plan, "a", "b").fires("succeeded", 2)
    assert not edge(plan, "a", "b").fires("failed", None)


def test_a_parallel_block_is_two_gates() -> None:
    plan = plan_of(
        {"name": "a", "on_success": "p"},
        {
            "name": "p",
            "type": "parallel",
            "join": 2,
            "tasks": [
                {"name": "b", "action": "x", "on_success": "c"},
                {"name": "c", "action": "x"},
                {"name": "d", "action": "x", "with_items": [1]},
            ],
        },
        {"name": "z", "after": "p"},
    )

    assert plan.nodes["p:fork"].kind == plan.nodes["p"].kind == "gate"
    assert [each.source for each in plan.nodes["p:fork"].inbound] == ["a"]
    assert [each.target for each in plan.nodes["p:fork"].outbound] == ["b", "d"]
    assert [(each.source, each.counted) for each in plan.nodes["p"].inbound] == [("b", True), ("c", True), ("d", True)]
    assert plan.nodes["p"].join == 2
    assert plan.nodes["p:fork"].join is None
    result = plan.nodes["p"].result
    assert result is not None
    assert result.value == {"b": "{{ task.b.result }}", "c": "{{ task.c.result }}", "d": "{{ task.d.results }}"}
    assert plan.nodes["p"].reads == {"b", "c", "d"}


def test_a_block_that_may_be_skipped_hands_its_skip_on_to_what_is_inside() -> None:
    inner = {"name": "q", "type": "parallel", "tasks": [{"name": "c", "action": "x"}]}
    plan = plan_of(
        {"name": "p", "type": "parallel", "when": "parameters.x", "tasks": [{"name": "b", "action": "x", "when": "vars.y"}, inner]}
    )

    shown = {name: None if node.when is None else node.when.source for name, node in plan.nodes.items()}
    assert shown == {
        "p:fork": "parameters.x",
        "b": "(vars.y) and (task['p:fork'].status == 'succeeded')",
        "q:fork": "task['p:fork'].status == 'succeeded'",
        "c": "task['q:fork'].status == 'succeeded'",
        "q": "task['q:fork'].status == 'succeeded'",
        "p": "task['p:fork'].status == 'succeeded'",
    }
    assert edge(plan, "p:fork", "b").required == USUAL


def test_nodes_are_in_an_order_in_which_every_edge_leads_on() -> None:
    plan = plan_of({"name": "c", "after": "b"}, {"name": "b", "after": "a"}, {"name": "a"}, {"name": "d"})

    assert list(plan.nodes) == ["a", "b", "c", "d"]
    assert plan.entries == ("a", "d")


def test_a_circle_is_no_plan() -> None:
    with pytest.raises(DefinitionProblems, match="circle"):
        plan_of({"name": "a", "after": "b"}, {"name": "b", "after": "a"})


def test_only_what_the_definition_says_is_on_the_node() -> None:
    plan = plan_of({"name": "a"}, {"name": "b", "retry": {"count": 5, "max_delay": "2m"}, "timeout": "30s", "queue": "q", "priority": 3})

    assert (plan.nodes["a"].retry, plan.nodes["a"].timeout, plan.nodes["a"].queue) == (None, None, None)
    policy = plan.nodes["b"].retry
    assert policy is not None
    assert (policy.count, policy.delay, policy.max_delay, policy.jitter) == (5, 1.0, 120.0, True)
    assert (plan.nodes["b"].timeout, plan.nodes["b"].queue, plan.nodes["b"].priority) == (30.0, "q", 3)


def test_what_a_node_reads_is_known() -> None:
    plan = plan_of(
        {"name": "a"},
        {
            "name": "b",
            "after": "a",
            "when": "task.a.result",
            "input": {"x": ["{{ task.a.result.y }}"]},
            "publish": {"v": "{{ task.b.result }}"},
        },
        output={"x": "{{ task.a.result }}"},
        vars={"v": 1},
        parameters={"p": {"default": 3}, "q": {"required": True}, "r": {}},
    )

    assert plan.nodes["b"].reads == {"a", "b"}
    assert plan.output_reads == {"a"}
    assert plan.defaults == {"p": 3, "r": None}


def test_twenty_thousand_tasks_are_compiled_in_seconds() -> None:
    tasks = [
        {
            "name": f"t{number}",
            "input": {"x": f"{{{{ task.t{number - 1}.result }}}}" if number else 1},
            "needs": [f"t{number - 1}"] if number else [],
        }
        for number in range(20_000)
    ]
    began = time.monotonic()

    plan = plan_of(*tasks)

    assert len(plan.nodes) == 20_000
    assert time.monotonic() - began < 20  # 3 on a quiet machine
