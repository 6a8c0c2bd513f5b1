"""Expressions and templates: a value that a row can hold, or an ExpressionError that names the expression and quotes no data."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bad_input.small_room import tried
from wfcelery.definition.expressions import Expression, Template
from wfcelery.definition.grammar import FILTERS, FUNCTIONS, TESTS
from wfcelery.definition.values import decode, dumps, encode, loads
from wfcelery.errors import ExpressionError

CANARY = "canary-7f3a"
LISTS = ", ".join(["parameters.list"] * 150)

BOMBS = [
    "parameters.list | select('in', parameters.list) | list | length",
    "parameters.list | reject('in', parameters.list) | list | length",
    "parameters.many | selectattr('0', 'in', parameters.list) | list",
    "either(parameters.list, 1) | select('in', either(parameters.list, 1)) | list",
    f"parameters.list | zip({LISTS}) | list | length",
    f"[{LISTS}]",
    f"{{'a': [{LISTS}]}} | tojson | length",
    f"[{', '.join(['parameters.big'] * 150)}]",
    f"[{', '.join(['parameters.big'] * 150)}] | join",
    "parameters.list | map('zip', parameters.list) | map('list') | list | length",
    "parameters.many | sum(start=parameters.list)",
    "parameters.many | map(attribute=parameters.big) | list",
    "parameters.list | map('string') | map('list') | list | length",
    "parameters.list | groupby('x')",
    "parameters.big | urlencode | urlencode | urlencode | length",
    "parameters.big | split('') | join(parameters.big)",
    "'a' * 1000000000",
    "10 ** (10 ** 8)",
    "decimal('1e999999') ** 3",
    "pow(decimal('9e99999'), 99999)",
    "'%1000000000d' | format(1)",
    "'x' | center(1000000000)",
    "'x' | indent(1000000000)",
    "range(1000000000)",
    "lipsum(n=100000)",
    "1 is divisibleby(0)",
    "(" * 3000 + "1" + ")" * 3000,
    "[" * 2000 + "]" * 2000,
    "-" * 4000 + "1",
    "1" * 5000,
    "'" + "\\" * 4001 + "'",
    "parameters" + "[0]" * 1300,
    "parameters" + ".a" * 2000,
]


def test_no_bomb_takes_much_time_or_memory() -> None:
    """S10. In a process with 1 GiB and 20 s for each; most are refused in a millisecond."""
    for bomb, came in zip(BOMBS, tried("expression", BOMBS), strict=True):
        assert came == "value" or came.startswith("ExpressionError: "), bomb


def test_a_template_cannot_put_together_what_no_row_can_hold() -> None:
    """S12."""
    deep = "{{ [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]] }}"
    inside: Any = deep
    for _ in range(130):
        inside = [inside]
    wide = {f"k{number}": "{{ parameters.big }}" for number in range(100)}
    came = tried("template", [json.dumps(inside), json.dumps(wide), json.dumps(deep)])
    assert "levels deep" in came[0]
    assert "larger than" in came[1]
    assert came[2] == "value"


@pytest.mark.parametrize(
    "source",
    [
        "({'a': 1})[parameters.x]",
        "parameters.n[parameters.x]",
        "datetime(parameters.x)",
        "date(parameters.x)",
        "time(parameters.x)",
        "uuid(parameters.x)",
        "decimal(parameters.x)",
        "parameters.x | int",
        "parameters.x | float",
        "parameters.x + 1",
        "-parameters.x",
        "mul(parameters.x, 2)",
        "gt(parameters.x, 2)",
        "1 is divisibleby(parameters.x)",
        "[1] | select(parameters.x) | list",
        "[1] | map(attribute=parameters.x) | list | first | required(none)",
    ],
)
def test_an_error_quotes_the_expression_and_none_of_the_data(source: str) -> None:
    """S24, S41. The error is kept in rows and shown to operators."""
    with pytest.raises(ExpressionError) as told:
        Expression.parse(source).evaluate({"parameters": {"x": CANARY, "n": 5}})
    assert source in str(told.value)
    assert CANARY not in str(told.value)


@pytest.mark.parametrize("source", ["+parameters.x", "+'a'", "+ +parameters.x", "1 + +parameters.x"])
def test_a_plus_before_what_is_no_number_is_refused_before_it_runs(source: str) -> None:
    with pytest.raises(ExpressionError, match="a plus stands before a number"):
        Expression.parse(source)


def test_divisible_by_nothing_is_no_and_of_a_text_an_error() -> None:
    assert Expression.parse("1 is divisibleby(0)").evaluate({}) is False
    assert Expression.parse("9 is divisibleby(3)").evaluate({}) is True
    with pytest.raises(ExpressionError, match="whole numbers"):
        Expression.parse("'9' is divisibleby(3)").evaluate({})


def test_a_moment_of_the_first_day_is_shown_as_it_is_where_utc_has_no_such_day() -> None:
    first = datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))
    scope = {"parameters": encode({"when": first})}
    assert Template.parse("at {{ parameters.when }}").render(scope) == "at 0001-01-01T00:00:00+14:00"


words = st.sampled_from(
    [
        *("parameters", "parameters.x", "parameters.list", "parameters.zz", "task.a.result", "vars", "item", "system.run_id", "error"),
        *(".__class__", ".__init__", "['__globals__']", ".items", "[0]", "[-1]", "[::0]", "[1:]", "['x']", "[parameters.x]"),
        *("(", ")", "[", "]", "{", "}", ",", ":", "+", "-", "*", "**", "/", "//", "%", "~", "<", "==", "!=", "if", "else", "and", "or"),
        *("not", "in", "is", "0", "1", "-1", "1e308", "1e999", "9" * 30, "0.1", "''", "'x'", "'\\ud800'", "'\\x00'", "none", "true"),
        *(f"| {name}" for name in sorted(FILTERS)),
        *(f"is {name}" for name in sorted(TESTS)),
        *(f"{name}(" for name in sorted(FUNCTIONS)),
        *("range(", "cycler(", "self", "loop", "{{", "}}", "{%", "\u202e", "\x00", "\ud800"),
    ]
)
seen: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 10**30, 1.5, "", "x", "\x00", [], [1, "a", None], [[]], {}, {"x": 1}, {"items": [{"x": 1}]}]
)


@given(st.lists(words, min_size=1, max_size=8).map(" ".join), seen)
def test_any_words_over_any_data_are_a_value_that_can_be_kept_or_an_error_of_ours(source: str, data: object) -> None:
    """S10, S12."""
    scope = {"parameters": {"x": data, "list": [data, data]}, "vars": {}, "task": {"a": {"status": "succeeded", "result": data}}}
    try:
        value = Expression.parse(source).evaluate(scope)
    except ExpressionError:
        return
    assert loads(dumps(value)) == value
    decode(value)
    assert scope["parameters"] == {"x": data, "list": [data, data]}


calls = st.builds(
    "{}{} | {}({})".format,
    st.sampled_from(["parameters.x", "parameters.list", "1", "'a'", "[]", "{}", "none"]),
    st.sampled_from(["", "[0]", ".x"]),
    st.sampled_from(sorted(FILTERS)),
    st.sampled_from(["", "1", "'x'", "parameters.x", "none", "attribute='x'", "'x', 'y'", "start=1", "-1", "0", "10**9"]),
) | st.builds(
    "{} is {}({})".format,
    st.sampled_from(["parameters.x", "parameters.list", "0", "'a'", "none", "1.5"]),
    st.sampled_from(sorted(TESTS)),
    st.sampled_from(["0", "''", "parameters.x", "none", "1.5", "[]"]),
)


@given(calls, seen)
def test_a_filter_of_the_wrong_type_is_a_value_or_an_error_of_ours(source: str, data: object) -> None:
    """S10."""
    try:
        value = Expression.parse(source).evaluate({"parameters": {"x": data, "list": [data, data]}})
    except ExpressionError:
        return
    assert loads(dumps(value)) == value
