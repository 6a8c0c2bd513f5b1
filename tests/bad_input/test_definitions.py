"""Definitions: YAML that is a bomb, or wrong in any of its places, is problems with their places; what is taken is read back the same."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped, unused-ignore]
from hypothesis import given
from hypothesis import strategies as st

from tests.bad_input.rows import counted
from tests.bad_input.small_room import tried
from wfcelery.authoring.yaml import load_yaml_file, read_yaml
from wfcelery.definition.compile import compile_plan
from wfcelery.definition.drawing import mermaid
from wfcelery.definition.model import Definition, canonical_json, signature
from wfcelery.definition.problems import read
from wfcelery.errors import DefinitionProblems
from wfcelery.service import publishing
from wfcelery.service.context import current
from wfcelery.store.database import Database

WHOLE = """
name: fulfil
version: "1"
label: x
tags: [a]
timeout: 1h
parameters: {order: {type: object, required: true}, n: {type: integer, default: 3, minimum: 1}}
vars: {a: 1, b: "{{ parameters.n }}"}
tasks:
  - name: a
    action: shop.a
    input: {x: "{{ parameters.n }}"}
    when: "{{ parameters.n > 1 }}"
    retry: {count: 5, delay: 1s, backoff: linear, max_delay: 1m, jitter: true, on_error: "error.type == 'x'", non_retryable: [A],
            total: 1h}
    timeout: 3s
    queue: q
    priority: 3
    publish: {z: "{{ task.a.result }}"}
    on_success: b
    on_failure: [c]
  - {name: b, action: shop.b, join: 1, cancel_rest: true}
  - {name: c, action: shop.b}
  - {name: m, action: shop.m, with_items: "{{ parameters.order.x }}", concurrency: 3, on_error: continue, input: {i: "{{ item }}"},
     after: [b]}
  - {name: s, type: sleep, duration: 1h, after: [m]}
  - {name: u, type: sleep, until: "2030-01-01T00:00:00Z"}
  - {name: p, type: parallel, tasks: [{name: q, action: x}, {name: r, action: y}]}
  - {name: d, action: x, decision: [{when: "{{ parameters.n > 1 }}", next: e}, {default: e}], soft_timeout: 1s, args: [1]}
  - {name: e, action: x, needs: [q], after: [s, u]}
  - {name: w, type: wait, event: letter, key: "{{ parameters.n }}", timeout: 1h, roles: [admin], data: {type: object}, after: [a]}
  - {name: ask, type: approval, title: "Order {{ parameters.n }}", assignees: ["role:finance"], form: {reason: string}, remind: 4h,
     escalate: [{after: 1d, to: "role:cfo"}], timeout: 2d, after: [w]}
  - {name: child, type: workflow, workflow: other, input: {n: 1}, parent_close: abandon, after: [ask]}
  - {name: each, type: workflow, with_items: [1, 2], input: {i: "{{ item }}"}, output: "{{ task.z.result }}",
     tasks: [{name: z, action: shop.z, input: {i: "{{ parameters.i }}"}}]}
  - {name: round, type: loop, while: "gt(last, 0)", max_rounds: 50, every: 1s, input: {left: "{{ last }}"}, after: [e],
     tasks: [{name: t, action: shop.t, input: {left: "{{ parameters.left }}"}}], output: "{{ task.t.result }}"}
  - name: first
    type: race
    tasks:
      - {name: paid, type: parallel, tasks: [{name: payment, type: wait, event: payment, key: "{{ parameters.n }}"}]}
      - {name: late, type: parallel, tasks: [{name: patience, type: sleep, duration: 1h}]}
  - {name: limited, action: x, lock: till, rate: 5/m, breaker: {key: gateway, failures: 2, within: 1m, open_for: 3s}, region: west}
  - {name: cut, action: x, needs: [first], cancels: [west]}
  - {name: again, type: continue_as_new, needs: [cut], when: "{{ parameters.n < 3 }}", input: {order: "{{ parameters.order }}"}}
  - {name: refuse, type: fail, message: "no {{ parameters.n }}", code: E, after: [round], when: "{{ parameters.n > 9 }}"}
triggers: [{event: order.placed, when: "{{ event.data.amount > 5 }}", input: {order: "{{ event.data.order }}"}}]
schedules: [{name: nightly, cron: "0 3 * * *", timezone: Europe/Berlin, input: {order: {}}}]
output: "{{ task.e.result }}"
"""
DOCUMENT: dict[str, Any] = yaml.safe_load(WHOLE)


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inside for place in places(item, (*path, key)))]


def with_value(path: tuple[str | int, ...], value: Any) -> Any:
    if not path:
        return value
    changed = deepcopy(DOCUMENT)
    at: Any = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return changed


BOMBS = {
    "deep list": "a: " + "[" * 100_000,
    "deep maps": "{a: " * 50_000,
    "aliases": "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(f"b{n}: &b{n} [*a, *a, *a, *a]\n" for n in range(50)),
    "an alias of itself": "a: &a [*a]",
    "merge keys": "base: &b {x: 1}\n" + "m: {<<: *b}\n" * 5_000,
    "a number of 200,000 digits": "a: " + "9" * 200_000,
    "a number with a long exponent": "a: 1e" + "9" * 90,
    "a line of 10 MB": "a: " + "x" * 10_000_000,
    "10 MB of lines": "- a\n" * 2_500_000,
    "10 MB of spaces": " " * 10_000_000,
    "a Python object": "a: !!python/object/apply:os.system [touch /tmp/canary]",
    "a Python name": "a: !!python/name:os.system",
    "a binary": "a: !!binary aGVsbG8=",
    "a set": "a: !!set {x, y}",
    "a timestamp": "name: !!timestamp 2001-01-01",
    "duplicate keys": "name: f\nname: g\ntasks: [{name: a, action: x}]",
    "NUL": "name: f\x00",
    "NUL in escapes": 'name: "f\\0"\ntasks: [{name: a, action: x}]',
    "bidirectional": "name: \u202egnp.exe\ntasks:\n - {name: \u2066a, action: x}",
    "half a surrogate pair in escapes": 'name: "f\\ud800"\ntasks: [{name: a, action: x}]',
    "a long name": "name: " + "f" * 60_000 + "\ntasks: [{name: a, action: x}]",
    "two documents": "name: f\n---\nname: g",
    "tabs": "name:\tf\n\ttasks: []",
    "complex keys": "? [a, b]\n: c",
    "wide": "{" + ", ".join(f"k{n}: 1" for n in range(15_000)) + "}",
}


def test_no_bomb_is_taken_or_takes_much_time_or_memory() -> None:
    """S9. In a process with 1 GiB and 20 s for each."""
    for name, came in zip(BOMBS, tried("yaml", list(BOMBS.values())), strict=True):
        assert came.startswith("DefinitionProblems: "), name
        assert len(came.splitlines()[1]) < 700, name


def test_the_whole_document_is_taken() -> None:
    definition, problems = read_yaml(WHOLE)
    assert definition is not None
    assert [problem for problem in problems if problem.severity == "error"] == []


def test_a_dict_that_is_nested_too_deep_or_in_itself_is_told() -> None:
    """S9: graphs made by machines come as dicts, which no reader of texts has looked at."""
    endless: dict[str, Any] = {"name": "f"}
    endless["tasks"] = [endless]
    deep: Any = 1
    for _ in range(10_000):
        deep = {"a": deep}
    for each in (endless, {**DOCUMENT, "vars": {"a": deep}}):
        definition, problems = read(each, {}, None)
        assert definition is None
        assert [problem.text for problem in problems] == ["it is nested more than 100 levels deep"]


wrong: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(
            None,
            True,
            -1,
            0,
            1.5,
            10**90,
            float("inf"),
            float("nan"),
            "",
            "x",
            "\x00",
            "\ud800",
            "\u202e",
            "x" * 60_000,
            "9" * 90,
            "1e9",
            "2030",
        ),
        *("{{", "{{ 1 }}", "{{ nope }}", "{{ parameters }}", "{{ 1 is divisibleby(0) }}", "{{ +parameters.n }}", "__class__", "a.b", "a b"),
        *([], [None], [[]], ["a", "a"], {}, {"a": 1}, {"": 1}, {"$wf": ["ref", "a"]}, {"$wf": 5}, {"a": {"b": [1]}}),
    ]
)
document = st.sampled_from(places(DOCUMENT)).flatmap(lambda place: wrong.map(lambda value: with_value(place, value)))
keys = st.sampled_from(["\x00", "\ud800", "__class__", "x" * 1_000, "", " ", "$wf", "0"])


def check(given: Any) -> None:
    definition, problems = read(given, {}, None)
    errors = [problem for problem in problems if problem.severity == "error"]
    assert all(len(str(problem)) < 700 for problem in problems)
    if definition is None or errors:
        assert errors
        return
    compile_plan(definition)
    assert mermaid(definition).startswith("flowchart TD\n")
    text = canonical_json(definition)
    text.encode("utf-8")
    assert "\x00" not in definition.name
    assert signature(Definition.model_validate_json(text)) == signature(definition)


@given(document)
def test_any_value_at_any_place_is_taken_or_told(given: Any) -> None:
    """S9, S14."""
    check(given)


@given(st.sampled_from(places(DOCUMENT)), keys, wrong)
def test_any_key_at_any_place_is_taken_or_told(place: tuple[str | int, ...], key: str, value: Any) -> None:
    """S9."""
    at: Any = DOCUMENT
    for part in place:
        at = at[part]
    if isinstance(at, dict):
        check(with_value((*place, key), value))


@given(
    st.lists(st.sampled_from(WHOLE.splitlines()), max_size=25).map("\n".join) | st.text(st.sampled_from(WHOLE + '&*!|>"\\0'), max_size=200)
)
def test_any_lines_are_a_definition_or_problems(text: str) -> None:
    """S9."""
    definition, problems = read_yaml(text)
    assert definition is not None or problems


@pytest.mark.parametrize(
    ("content", "says"), [(b"name: f\n\xff\xfe", "2: this is no UTF-8"), (b"a: " + "é".encode() * 200_000, "larger than")]
)
def test_a_file_that_is_no_text_or_too_large_is_told_with_its_line(content: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "flow.yaml"
    file.write_bytes(content)
    with pytest.raises(DefinitionProblems, match=says):
        load_yaml_file(file)


def test_one_bad_file_among_good_ones_stores_none(tmp_path: Path, sqlite_database: Database) -> None:
    """S9: all of their problems are told, and nothing is written."""
    (tmp_path / "a.yaml").write_text(WHOLE)
    (tmp_path / "b.yaml").write_bytes(b"\xff")
    (tmp_path / "c.yaml").write_text("name: g\n" * 2)
    before = counted(sqlite_database)
    with pytest.raises(DefinitionProblems) as told:
        publishing.publish(current(), [tmp_path])
    assert {Path(str(problem.file)).name for problem in told.value.problems} == {"b.yaml", "c.yaml"}
    assert counted(sqlite_database) == before


def test_a_definition_whose_parts_are_shared_without_end_is_refused_before_it_is_written_out() -> None:
    """Forty small lists, each twice in the next, would be a million million values."""
    shared: list[Any] = [1]
    for _ in range(40):
        shared = [shared, shared]
    definition, found = read({"name": "order", "tasks": [{"name": "pay", "action": "pay", "input": {"x": shared}}]})
    assert definition is None
    assert [(problem.path.partition(".")[0][:5], problem.text) for problem in found] == [
        ("tasks", "with all its parts it holds more than 524288 values")
    ]
