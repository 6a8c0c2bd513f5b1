"""YAML: what it means, what is refused, and that every problem has its line."""

from __future__ import annotations

import resource
import time
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wfcelery.authoring.yaml import load_yaml, read_yaml
from wfcelery.definition.compile import compile_plan
from wfcelery.definition.model import Task
from wfcelery.errors import DefinitionProblems

_WORDS = get_args(Task.model_fields["type"].annotation)
TYPES = f"{', '.join(_WORDS[:-1])} or {_WORDS[-1]}"

ORDER = """\
name: fulfil
version: "1"
parameters: {order: {type: object, required: true}}
tasks:
  - {name: reserve, action: shop.reserve,
     input: {sku: "{{ parameters.order.sku }}", quantity: "{{ parameters.order.quantity }}"}}
  - name: charge
    action: shop.charge
    after: [reserve]            # or, from the other end, on_success: [charge]
    queue: payments
    input: {order_id: "{{ parameters.order.id }}", amount: "{{ parameters.order.total }}"}
    retry: {count: 5, delay: 1s, backoff: exponential, max_delay: 1m, jitter: true}
    timeout: 30s
    on_failure: apologise
  - {name: label, action: shop.label, with_items: "{{ parameters.order.lines }}", concurrency: 50, on_error: continue,
     input: {line: "{{ item }}", size: A6}}
  - {name: notify, action: shop.tasks.notify, needs: [charge], input: {receipt: "{{ task.charge.result }}"}}
  - {name: ship, action: shop.ship, needs: [charge, label], input: {labels: "{{ task.label.results }}"}}
  - {name: apologise, action: shop.apologise, input: {reason: "{{ task.charge.error.message }}"}}
output: "{{ task.ship.result }}"
"""


def test_the_order_is_read_and_compiled() -> None:
    plan = compile_plan(load_yaml(ORDER))

    assert list(plan.nodes) == ["reserve", "charge", "label", "notify", "ship", "apologise"]
    assert plan.nodes["charge"].handles == {"failed"}


EIGHT_FAULTS = """\
name: fulfil
parameters:
  order: {type: objct}
tasks:
  - name: reserve
    action: shop.reserve
    retry: {cuont: 5}
  - name: charge
    action: shop.charge
    after: [resrve]
    timeout: 5 parsecs
  - name: approve
    type: telegram
  - name: ship
    action: shop.ship
    input:
      id: "{{ parameters.ordr }}"
      paid: "{{ task.label.result }}"
  - {name: label, action: shop.label, join: 2}
output: "{{ task.ship.result }}"
"""


def test_eight_faults_are_eight_problems_with_their_lines() -> None:
    with pytest.raises(DefinitionProblems) as told:
        load_yaml(EIGHT_FAULTS, "fulfil.yaml")

    assert [str(problem) for problem in told.value.problems] == [
        "fulfil.yaml:3: parameters.order.type: there is no type 'objct'; did you mean object?",
        "fulfil.yaml:7: tasks.reserve.retry.cuont: there is no such key; did you mean count?",
        "fulfil.yaml:10: tasks.charge.after[0]: there is no task 'resrve'; did you mean reserve?",
        "fulfil.yaml:11: tasks.charge.timeout: '5 parsecs' is not a span of time; write 30, 30s, 5m, 12h or 2d",
        f"fulfil.yaml:13: tasks.approve.type: it is one of {TYPES}, not 'telegram'",
        "fulfil.yaml:17: tasks.ship.input.id: {{ parameters.ordr }}: there is no parameter 'ordr'; did you mean order?",
        "fulfil.yaml:18: tasks.ship.input.paid: it looks at label, which need not have ended by then: "
        "add needs: [label] for its value, or after: [label]",
        "fulfil.yaml:19: tasks.label.join: join: 2 can never be reached, with 0 after to count",
    ]


def test_scalars_mean_what_they_would_in_json() -> None:
    definition = load_yaml(
        "name: no\ntasks:\n - name: a\n   action: x\n"
        "   input: {a: no, b: 012, c: 1:30, d: 2001-01-01, e: .nan, f: 1.5e3, g: 12, h: true, i: , j: null, k: '5', l: ~, on: 1}"
    )

    assert definition.name == "no"
    assert definition.tasks[0].input == {
        **{"a": "no", "b": "012", "c": "1:30", "d": "2001-01-01", "e": ".nan", "f": 1500.0, "g": 12, "h": True},
        **{"i": None, "j": None, "k": "5", "l": "~", "on": 1},
    }


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("name: f\nname: g", 2, "twice"),
        ("a: &x 1\nb: *x", 2, "aliases are not read"),
        ("a: &x 1", 1, "anchors are not read"),
        ("a: !!python/object/apply:os.system [ls]", 1, "tags are not read"),
        ("a: !custom b", 1, "tags are not read"),
        ("a:\n  <<: {b: 1}", 2, "merge keys are not read"),
        ("1: a", 1, "a key is a text, not 1"),
        ("? [a]\n: b", 1, "a key is a text, not a list"),
        ("a: 1e999", 1, "too large"),
        ("a: " + "1" * 200, 1, "at most 100"),
        ("a: 1\n---\nb: 1", 2, "one file holds one definition"),
        ("a: [1", 2, "this is no YAML"),
        ("\ta: 1", 1, "this is no YAML"),
        ("", None, "there is nothing in it"),
        ("a: \x00", None, "this is no YAML"),
    ],
)
def test_what_is_not_read_is_told_with_its_line(text: str, line: int | None, says: str) -> None:
    definition, problems = read_yaml(text)

    assert definition is None
    assert [problem.line for problem in problems if says in problem.text] == [line]


BOMBS = {
    "deep list": "a: " + "[" * 100_000,
    "deep maps": "{a: " * 40_000,
    "deep blocks": "\n".join(" " * n + "a:" for n in range(500)),
    "laughs": "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(8)),
    "merges": "base: &b {" + ",".join(f"k{n}: 1" for n in range(2000)) + "}\n" + "\n".join(f"m{n}: {{<<: *b}}" for n in range(1000)),
    "long number": "a: " + "9" * 200_000,
    "hex": "a: 0x" + "f" * 200_000,
    "long text": "a: " + "x" * 100_000,
    "flat list": "- a\n" * 60_000,
    "huge": "a: b\n" * 1_000_000,
    "complex keys": "? " * 10_000,
    "quotes": "a: " + "'" * 100_001,
    "many keys": "\n".join(f"k{n}: 1" for n in range(15_000)),
    "many tasks": "name: f\ntasks:\n" + "".join(f" - {{name: t{n}, type: y}}\n" for n in range(3_000)),
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_is_refused_soon_and_small(text: str) -> None:
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()

    definition, problems = read_yaml(text)

    assert definition is None
    assert problems
    assert time.monotonic() - began < 5  # 1 on a quiet machine
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 128_000


@given(st.text(st.sampled_from("abname: -[]{}&*!<>|'\"#?%@\n\t1,tasks"), max_size=80))
def test_any_text_is_a_definition_or_problems(text: str) -> None:
    definition, problems = read_yaml(text)

    assert definition is not None or problems
