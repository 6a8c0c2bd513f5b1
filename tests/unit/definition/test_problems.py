"""Each thing that can be wrong with a definition is told, and nothing else."""

# ruff: noqa: E501 - a row of the tables is one line

from __future__ import annotations

from typing import Any, get_args

import pytest

from wfcelery.definition.model import Definition, Task
from wfcelery.definition.problems import problems, read

_WORDS = get_args(Task.model_fields["type"].annotation)
TYPES = f"{', '.join(_WORDS[:-1])} or {_WORDS[-1]}"


def task(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "action": "x", **more}


def told(*tasks: dict[str, Any], **more: Any) -> list[str]:
    _, found = read({"name": "f", "tasks": list(tasks), **more})
    return [str(problem) for problem in found]


A, B, C = task("a"), task("b"), task("c")
DECIDES = task("a", decision=[{"when": "task.a.result", "next": "b"}, {"default": "c"}])

WRONG: list[tuple[str, list[dict[str, Any]], dict[str, Any], str]] = [
    ("no task", [], {}, "tasks: a workflow has at least one task"),
    ("no action", [{"name": "a"}], {}, "tasks.a: it says no action"),
    ("two of a name", [A, A], {}, "tasks.a.name: another task is called a already"),
    ("no identifier", [task("a-b")], {}, "tasks.a-b.name: 'a-b' is no name for a task"),
    ("secret in a condition", [task("a", when="secret.key == 'x'")], {}, "tasks.a.when: {{ secret.key == 'x' }}: a secret stands in the input of a task that calls a step, and nowhere else"),
    ("secret in a text", [task("a", input={"x": "Bearer {{ secret.key }}"})], {}, "tasks.a.input.x: a secret is a whole value, {{ secret.name }}: nothing can be made of it before the call"),
    ("secret calculated with", [task("a", input={"x": "{{ secret.key | upper }}"})], {}, "a secret is a whole value"),
    ("secret published", [task("a", publish={"x": "{{ secret.key }}"})], {}, "tasks.a.publish.x: {{ secret.key }}: a secret stands in the input"),
    ("secret in the output", [A], {"output": "{{ secret.key }}"}, "output: {{ secret.key }}: a secret stands in the input"),
    ("secret in items", [task("a", with_items="{{ secret.key }}")], {}, "a secret stands in the input"),
    ("secret's part", [task("a", input={"x": "{{ secret.key.part }}"})], {}, "a secret is named by one name"),
    ("secret with two underscores", [task("a", input={"x": "{{ secret.a__b }}"})], {}, "no two underscores in a row"),
    ("unknown after", [task("charge"), task("b", after="chrage")], {}, "tasks.b.after[0]: there is no task 'chrage'; did you mean charge?"),
    ("unknown transition", [task("charge"), task("b", on_success="chrage")], {}, "did you mean charge?"),
    ("unknown branch", [task("a", decision=[{"default": "zz"}])], {}, "tasks.a.decision[0].next: there is no task 'zz'"),
    ("itself", [task("a", after="a")], {}, "tasks.a.after[0]: a task cannot come after itself"),
    ("after an end", [A, {"name": "z", "type": "end", "after": "a"}, task("b", after="z")], {}, "tasks.b.after[0]: nothing comes after z: it ends the run"),
    ("end leads on", [A, B, {"name": "z", "type": "end", "after": "a", "on_success": "b"}], {}, "tasks.z.on_success: a task of type end takes no on_success: nothing comes after it"),
    ("fail without why", [A, {"name": "z", "type": "fail", "after": "a"}], {}, "tasks.z: it says no message: why the run fails"),
    ("end with a message", [A, {"name": "z", "type": "end", "after": "a", "message": "no"}], {}, "tasks.z.message: a task of type end takes no message"),
    ("fail looks ahead", [A, B, {"name": "z", "type": "fail", "after": "a", "message": "{{ task.b.result }}"}], {}, "tasks.z.message: it looks at b, which need not have ended by then"),
    ("circle", [task("a", after="c"), task("b", after="a"), task("c", needs=["b"])], {}, "a circle: a -> b -> c -> a"),
    ("child after its block", [{"name": "p", "type": "parallel", "tasks": [task("b", after="p")]}], {}, "circle"),
    ("join too many", [A, B, task("c", after=["a", "b"], join=3)], {}, "tasks.c.join: join: 3 can never be reached, with 2 after to count"),
    ("join counts no needs", [A, task("c", needs=["a"], join=1)], {}, "with 0 after to count"),
    ("join of one branch", [DECIDES, task("b", on_success="z"), task("c", on_success="z"), task("z", join=2)], {}, "tasks.z: it can never start: a would"),
    ("success and failure", [task("a", on_failure="b"), B, task("c", needs=["a", "b"])], {}, "tasks.c: it can never start: a would have to end in two ways"),
    ("edge at odds", [task("a", on_failure="b"), task("b", needs=["a"])], {}, "tasks.b: it can never start"),
    ("cancel_rest alone", [A, task("b", after="a", cancel_rest=True)], {}, "tasks.b.cancel_rest: it goes with join: n"),
    ("early", [A, task("b", input={"x": "{{ task.a.result }}"})], {}, "tasks.b.input.x: it looks at a, which need not have ended by then: add needs: [a]"),
    ("late", [task("a", when="task.b.result"), task("b", after="a")], {}, "tasks.a.when: it looks at b, which need not have ended by then: b comes after it"),
    ("own result", [task("a", when="task.a.result")], {}, "it looks at a itself"),
    ("one of two", [A, B, task("c", after=["a", "b"], join=1, input={"x": "{{ task.a.result }}"})], {}, "it looks at a, which need not"),
    ("unknown in template", [task("charge"), task("b", after="charge", input={"x": "{{ task.chrge.result }}"})], {}, "no task 'chrge'; did you mean charge?"),
    ("unknown parameter", [task("a", input={"x": ["{{ parameters.ordr }}"]})], {"parameters": {"order": {}}}, "tasks.a.input.x[0]: {{ parameters.ordr }}: there is no parameter 'ordr'; did you mean order?"),
    ("unknown variable", [task("a", when="vars.cuont")], {"vars": {"count": 1}}, "there is no variable 'cuont'; did you mean count?"),
    ("variable too early", [A], {"vars": {"x": "{{ vars.y }}", "y": 1}}, "vars.x: {{ vars.y }}: there is no variable 'y'"),
    ("task in a variable", [A], {"vars": {"x": "{{ task.a.result }}"}}, "no task has ended when variables"),
    ("unknown scope", [task("a", when="paramters.x")], {}, "tasks.a.when: {{ paramters.x }}: there is no 'paramters' here; did you mean parameters?"),
    ("unknown system", [task("a", when="system.runid")], {}, "did you mean run_id?"),
    ("item outside", [task("a", input={"x": "{{ item }}"})], {}, "item is there only in the input, the when and the filter of a task with_items"),
    ("item in when", [task("a", when="item > 1")], {}, "item is there only in the input, the when and the filter of a task with_items"),
    ("filter alone", [task("a", filter=True)], {}, "tasks.a.filter: only a task with_items has a filter"),
    ("batches alone", [task("a", batch_size=2)], {}, "tasks.a.batch_size: only a task with_items has a batch_size"),
    ("success alone", [task("a", success=2)], {}, "tasks.a.success: only a task with_items has a success"),
    ("tolerate alone", [task("a", tolerate=2)], {}, "tasks.a.tolerate: only a task with_items has a tolerate"),
    ("no such share", [task("a", with_items=[1], success="some")], {}, "tasks.a.success: it is a whole number of items, or a percentage such as 80%, not 'some'"),
    ("more than all", [task("a", with_items=[1], tolerate="101%")], {}, "a percentage such as 80%, not '101%'"),
    ("success of none", [task("a", with_items=[1], success=0)], {}, "tasks.a.success: without one that has to succeed"),
    ("rest of which", [A, B, task("c", after=["a", "b"], join=1, with_items=[1], success=1, cancel_rest=True)], {}, "tasks.c.cancel_rest: it could mean the rest of the join or of the items"),
    ("filter of another", [task("a", with_items=[1], filter="task.b.result"), B], {}, "tasks.a.filter: it looks at b, which need not have ended by then"),
    ("filter without sense", [task("a", with_items=[1], filter="item >")], {}, "tasks.a.filter: {{ item > }}: it ends too early"),
    ("error outside", [task("a", when="error.type == 'x'")], {}, "error alone is there only in a retry's on_error"),
    ("task in retry", [task("a", retry={"on_error": "task.a.result"})], {}, "a retry's on_error looks at error.type"),
    ("broken template", [task("a", input={"x": "{{ 1 + }}"})], {}, "tasks.a.input.x: {{ 1 + }}: it ends too early"),
    ("output", [A], {"output": {"x": "{{ task.zz.result }}"}}, "output.x: {{ task.zz.result }}: there is no task 'zz'"),
    ("span", [task("a", timeout="5 parsecs")], {}, "tasks.a.timeout: '5 parsecs' is not a span of time; write 30, 30s, 5m, 12h or 2d"),
    ("soft after hard", [task("a", timeout=5, soft_timeout=6)], {}, "tasks.a.soft_timeout"),
    ("no time at all", [task("a", timeout=0)], {}, "tasks.a.timeout"),
    ("concurrency alone", [task("a", concurrency=3)], {}, "tasks.a.concurrency: only a task with_items has a concurrency"),
    ("items no list", [task("a", with_items="abc")], {}, "tasks.a.with_items: it is a list"),
    ("wait without", [{"name": "w", "type": "wait"}, task("b", after="w")], {}, "tasks.w: it says no event: the name of what it waits for"),
    ("wait alone", [{"name": "w", "type": "wait", "event": "e"}, A], {}, "tasks.w: nothing comes after this wait"),
    ("wait key", [{"name": "w", "type": "wait", "event": "e", "key": ""}, task("b", after="w")], {}, "tasks.w.key: a key is not empty"),
    ("wait calls", [{"name": "w", "type": "wait", "event": "e", "action": "x"}, task("b", after="w")], {}, "tasks.w.action: a task of type wait takes no action"),
    ("event of a step", [{"name": "a", "action": "x", "event": "e"}], {}, "tasks.a.event: a task of type action takes no event"),
    ("keep of a step", [{"name": "a", "action": "x", "keep": False}], {}, "tasks.a.keep: a task of type action takes no keep"),
    ("sleep alone", [{"name": "s", "type": "sleep", "duration": "2d"}, A], {}, "tasks.s: nothing comes after this sleep"),
    ("sleep without", [{"name": "s", "type": "sleep"}, task("b", after="s")], {}, "tasks.s: a sleep has either a duration or an until"),
    ("sleep span", [{"name": "s", "type": "sleep", "duration": "soon"}, task("b", after="s")], {}, "tasks.s.duration: 'soon' is not a span"),
    ("sleep until", [{"name": "s", "type": "sleep", "until": "2030-01-01"}, task("b", after="s")], {}, "tasks.s.until: '2030-01-01' is no time with a time zone"),
    ("sleep retries", [{"name": "s", "type": "sleep", "duration": 1, "retry": {}}, task("b", after="s")], {}, "tasks.s.retry: a task of type sleep takes no retry"),
    ("action sleeps", [task("a", duration=1)], {}, "tasks.a.duration: a task of type action takes no duration"),
    ("empty block", [{"name": "p", "type": "parallel"}], {}, "tasks.p: a parallel block has at least one of tasks"),
    ("block fails", [{"name": "p", "type": "parallel", "tasks": [B], "on_failure": "c"}, C], {}, "takes no on_failure; its tasks do"),
    ("default first", [task("a", decision=[{"default": "b"}, {"when": "vars.x", "next": "c"}]), B, C], {"vars": {"x": 1}}, "the default branch comes last"),
    ("branch to nowhere", [task("a", decision=[{"when": "true"}])], {}, "a branch says which task is next"),
    ("branch without", [task("a", decision=[{"next": "b"}]), B], {}, "a branch has a when, or is the default"),
    ("parameter type", [A], {"parameters": {"x": {"type": "int"}}}, "parameters.x.type: there is no type 'int'; did you mean integer?"),
    ("parameter default", [A], {"parameters": {"x": {"type": "integer", "default": "a"}}}, "parameters.x.default: 'a' is not of type integer"),
    ("required default", [A], {"parameters": {"x": {"required": True, "default": 1}}}, "parameters.x.default: a required parameter needs no default"),
    ("unknown key", [task("a", on_sucess="b"), B], {}, "tasks.a.on_sucess: there is no such key; did you mean on_success?"),
    ("unknown key in retry", [task("a", retry={"cuont": 3})], {}, "tasks.a.retry.cuont: there is no such key; did you mean count?"),
    ("unknown type", [task("a", type="slep")], {}, f"tasks.a.type: it is one of {TYPES}, not 'slep'; did you mean sleep?"),
    ("type of none", [task("a", type="telegram")], {}, f"tasks.a.type: it is one of {TYPES}, not 'telegram'"),
    ("wrong type", [task("a", priority="high")], {}, "tasks.a.priority: it is a whole number, not 'high'"),
    ("out of bounds", [task("a", priority=300)], {}, "tasks.a.priority: it should be less than or equal to 255"),
    ("no name", [{"action": "x"}], {}, "tasks[0].name: it is missing"),
    ("unknown end", [A, task("b", after=[{"a": "exploded"}])], {}, "tasks.b.after"),
    ("approval of nothing", [{"name": "p", "type": "approval"}, task("b", after="p")], {}, "tasks.p: it says no title: what people are asked"),
    ("approval that acts", [{"name": "p", "type": "approval", "title": "go?", "action": "x"}, task("b", after="p")], {}, "tasks.p.action: a task of type approval takes no action"),
    ("approval of nobody", [{"name": "p", "type": "approval", "title": "go?", "assignees": []}, task("b", after="p")], {}, "tasks.p.assignees: they are a list of role:finance or names; leave it out to ask everybody"),
    ("escalated too late", [{"name": "p", "type": "approval", "title": "go?", "timeout": "1h", "escalate": [{"after": "1h", "to": "bob"}]}, task("b", after="p")], {}, "tasks.p.escalate[0].after: it comes before the timeout, or never"),
    ("escalated backwards", [{"name": "p", "type": "approval", "title": "go?", "escalate": [{"after": "2h", "to": "bob"}, {"after": "1h", "to": "eve"}]}, task("b", after="p")], {}, "tasks.p.escalate[1].after: it comes after the opening, and after those before it"),
    ("reminded too often", [{"name": "p", "type": "approval", "title": "go?", "remind": 0.1}, task("b", after="p")], {}, "tasks.p.remind: nobody is reminded more often than each second"),
    ("reminded too late", [{"name": "p", "type": "approval", "title": "go?", "remind": "2h", "timeout": "1h"}, task("b", after="p")], {}, "tasks.p.remind: it comes before the timeout, or never"),
    ("form of no name", [{"name": "p", "type": "approval", "title": "go?", "form": "no way"}, task("b", after="p")], {}, "tasks.p.form: 'no way' is no name of a model"),
    ("escalates to what", [{"name": "p", "type": "approval", "title": "go?", "escalate": [{"after": "1h", "to": "bob", "afer": 1}]}, task("b", after="p")], {}, "tasks.p.escalate[0].afer: there is no such key; did you mean after?"),
    ("action with a title", [task("a", title="go?")], {}, "tasks.a.title: a task of type action takes no title"),
    ("region of nobody", [task("a", region="r")], {}, "warning: tasks.a.region: no task cancels the region r"),
    ("unknown region", [task("a", region="search"), task("b", cancels="saerch"), task("c", cancels="search")], {}, "tasks.b.cancels: there is no region and no task 'saerch'; did you mean search?"),
    ("cancels itself", [task("a", cancels="a")], {}, "tasks.a.cancels: a task cannot cancel itself"),
    ("cancels its region", [task("a", region="r", cancels="r"), task("b", region="r")], {}, "tasks.a.cancels: a task cannot cancel itself: it stands in the region r"),
    ("cancels what comes", [task("a", cancels="b"), task("b", after="a")], {}, "tasks.a.cancels: it cancels b, which begins only after it and so never would"),
    ("cancels what has been", [A, task("b", after="a", cancels="a")], {}, "tasks.b.cancels: it cancels a, which has ended by then"),
    ("region like a task", [A, task("b", region="a"), task("c", cancels="a")], {}, "tasks.b.region: a task is called a: `cancels` could not tell the two"),
    ("region of no name", [task("a", region="no way")], {}, "tasks.a.region: 'no way' is no name for a region"),
    ("end cancels", [A, B, {"name": "z", "type": "end", "after": "a", "cancels": "b"}], {}, "tasks.z.cancels: a task of type end takes no cancels: nothing comes after it"),
    ("unknown milestone", [task("booked"), task("b", when_reached="boked")], {}, "tasks.b.when_reached[0]: there is no task 'boked'; did you mean booked?"),
    ("unknown end of it", [task("left"), task("b", unless_reached="lft")], {}, "tasks.b.unless_reached: there is no task 'lft'; did you mean left?"),
    ("its own milestone", [task("a", unless_reached="a")], {}, "tasks.a.unless_reached: a task cannot wait for itself"),
    ("milestone behind it", [task("a", unless_reached="b"), task("b", after="a")], {}, "tasks.a.unless_reached: b comes after it, so that it is never too late: leave it out"),
    ("milestone before it", [A, task("b", after="a", unless_reached="a")], {}, "tasks.b.unless_reached: it begins after a, and so never would"),
    ("what cannot be stored", [task("a", input={"x": object()})], {}, "tasks.a.input"),
]  # fmt: skip


@pytest.mark.parametrize(("tasks", "more", "text"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_is_wrong_is_told_once(tasks: list[dict[str, Any]], more: dict[str, Any], text: str) -> None:
    found = told(*tasks, **more)

    assert len(found) == 1, found
    assert text in found[0]


RIGHT: list[tuple[str, list[dict[str, Any]], dict[str, Any]]] = [
    ("chain by needs", [A, task("b", needs=["a"], input={"x": "{{ task.a.result }}"}), task("c", after="b", when="task.a.result")], {}),
    ("both branches meet", [DECIDES, task("b", on_success="z"), task("c", on_success="z"), task("z", input={"x": "{{ task.a.result }}", "y": "{{ task.b.status }}"})], {}),
    ("join of two", [A, B, task("c", after=["a", "b"], join=1)], {}),
    ("a join looks before the fork", [A, task("b", needs="a"), task("c", needs="a"), task("z", after=["b", "c"], join=1, input={"x": "{{ task.a.result }}"})], {}),
    ("failure handler", [A, task("b", after=[{"a": "failed"}], input={"x": "{{ task.a.error.message }}"})], {}),
    ("success or failure", [task("a", on_success="b", on_failure="c"), task("b", on_success="z"), task("c", on_success="z"), task("z", when="task.a.status")], {}),
    ("sleep", [{"name": "s", "type": "sleep", "duration": "{{ parameters.d }}"}, task("b", after="s")], {"parameters": {"d": {"type": "string", "default": "1s"}}}),
    ("sleep as output", [{"name": "s", "type": "sleep", "until": "2030-01-01T00:00:00Z"}], {"output": "{{ task.s.result }}"}),
    ("sleep in a block", [{"name": "p", "type": "parallel", "tasks": [{"name": "s", "type": "sleep", "duration": 1}]}], {}),
    ("block looks", [A, {"name": "p", "type": "parallel", "after": "a", "when": "task.a.result", "tasks": [task("b", input={"x": "{{ task.a.result }}"})]}, task("c", needs="p", input={"x": "{{ task.b.result }}{{ task.p.result.b }}"})], {}),
    ("publish", [task("a", publish={"v": "{{ task.a.result }}"}), task("b", after="a", when="vars.v")], {}),
    ("branches publish", [DECIDES, task("b", publish={"v": 1}), task("c", publish={"v": 2})], {}),
    ("items", [task("a", with_items="{{ parameters.x }}", concurrency=2, input={"x": "{{ item.y }}", "n": "{{ index }}"})], {"parameters": {"x": {"type": "array"}}}),
    ("items that are chosen", [task("a", with_items=[1], when="parameters.x and item.y", filter="index > 2", batch_size=3, success="80%", cancel_rest=True, tolerate=2)], {"parameters": {"x": {}}}),
    ("an input called when", [task("a", input={"when": "no {{ parameters.x }}"})], {"parameters": {"x": {}}}),
    ("retry", [task("a", retry={"on_error": "error.type == 'X' and error.code is none", "non_retryable": ["Y"], "total": "1h"})], {}),
    ("approval", [{"name": "p", "type": "approval", "title": "Order {{ parameters.x }}", "assignees": "{{ parameters.x }}", "form": {"name": "string", "type": {"type": "string", "required": True}}, "on_failure": "b", "on_timeout": "b", "remind": "1h"}, task("b")], {"parameters": {"x": {}}}),
    ("region", [task("a", region=["r", "s"]), task("b", after="a", region="r"), task("c", cancels="r"), {"name": "t", "type": "sleep", "duration": 1, "cancels": ["s", "c"]}], {}),
    ("milestone", [A, task("b", after="a"), task("c", when_reached="a", unless_reached="b", input={"x": "{{ task.a.result }}"})], {}),
    ("system", [task("a", input={"x": "{{ system.run_id }} {{ system.workflow_start }}"})], {}),
]  # fmt: skip


@pytest.mark.parametrize(("tasks", "more"), [row[1:] for row in RIGHT], ids=[row[0] for row in RIGHT])
def test_what_is_right_is_not_told(tasks: list[dict[str, Any]], more: dict[str, Any]) -> None:
    assert told(*tasks, **more) == []


def test_two_tasks_that_may_publish_one_variable_at_once_are_a_warning() -> None:
    definition = Definition.model_validate({"name": "f", "tasks": [task("a", publish={"v": 1}), task("b", publish={"v": 2})]})

    (found,) = problems(definition)

    assert found.severity == "warning"
    assert "a may publish v at the same time" in found.text


def test_more_than_twenty_thousand_tasks_are_too_many() -> None:
    assert told(*(task(f"t{number}") for number in range(20_001))) == ["tasks: there are 20001 tasks, more than 20000"]


def test_what_follows_from_a_problem_is_not_told() -> None:
    found = told(
        task("reserve"),
        task("approve", type="telegram", after="reserve"),
        task("charge", after="approve", input={"x": "{{ task.reserve.result }}", "y": "{{ task.approve.result }}"}),
        task("ship", needs=["charge"], input={"x": "{{ task.reserve.result }}"}),
    )

    assert found == [f"tasks.approve.type: it is one of {TYPES}, not 'telegram'"]


def test_a_document_that_is_no_definition_at_all_is_told() -> None:
    assert [str(problem) for problem in read([])[1]] == ["it is a mapping, not []"]
    assert [str(problem) for problem in read({"tasks": 3})[1]] == ["name: it is missing", "tasks: it is a list, not 3"]
