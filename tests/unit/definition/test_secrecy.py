"""What is secret is told once, followed through the definition, and hidden where people read."""

# ruff: noqa: E501 - a task is one line

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, SecretBytes, SecretStr

from wfcelery import Secret, publish, step, text, workflow
from wfcelery.authoring.shape import Shape
from wfcelery.definition.model import Definition, signature
from wfcelery.definition.problems import problems, read
from wfcelery.definition.redaction import of_schema, path_of, redacted, text_of, texts_at
from wfcelery.definition.secrecy import secrecy_of
from wfcelery.definition.values import decode, encode

YAML: dict[str, Any] = {
    "name": "buy",
    "parameters": {
        "card": {"type": "string", "secret": True, "required": True},
        "order": {"type": "object", "properties": {"pin": {"type": "string", "secret": True}, "id": {"type": "integer"}}, "required": True},
        "plain": {"type": "string"},
    },
    "vars": {"kept": "{{ parameters.card }}", "made": "{{ parameters.order.pin ~ '!' }}", "open": "{{ parameters.order.id }}"},
    "tasks": [
        {"name": "pay", "action": "x", "input": {"card": "{{ parameters.card }}", "order": "{{ parameters.order }}", "n": "{{ parameters.plain }}"},
         "secret": ["token", "lines[*].key"], "publish": {"again": "{{ vars.kept }}"}},
        {"name": "each", "action": "x", "with_items": "{{ task.pay.result.lines }}", "needs": ["pay"], "input": {"line": "{{ item }}", "k": "{{ item.sku }}"}},
        {"name": "tell", "action": "x", "needs": ["pay"], "input": {"t": "paid with {{ parameters.card }}", "ok": "{{ task.pay.status }}", "id": "{{ task.pay.result.id }}"}},
    ],
    "output": {"whole": "{{ task.pay.result }}", "id": "{{ task.pay.result.id }}", "v": "{{ vars.again }}"},
}  # fmt: skip


def paths(found: Sequence[Any] | frozenset[Any]) -> list[str]:
    return sorted(map(text_of, found))


def test_what_is_passed_on_stays_secret_and_what_is_calculated_with_it_becomes_so() -> None:
    definition, wrong = read(YAML)
    assert definition is not None
    assert wrong == []
    found = secrecy_of(definition)
    assert {name: paths(each) for name, each in found.parameters.items()} == {"card": ["*"], "order": ["pin"]}
    assert {name: paths(each) for name, each in found.variables.items()} == {"kept": ["*"], "made": ["*"], "again": ["*"]}
    assert {name: paths(each) for name, each in found.inputs.items()} == {"pay": ["card", "order.pin"], "each": ["line.key"], "tell": ["t"]}
    assert {name: paths(each) for name, each in found.items.items()} == {"each": ["key"]}
    assert paths(found.output) == ["v", "whole.lines[*].key", "whole.token"]


def test_a_definition_without_secrets_has_none() -> None:
    definition, _ = read({"name": "f", "parameters": {"a": {"type": "string"}}, "tasks": [{"name": "a", "action": "x"}]})
    assert definition is not None
    assert not secrecy_of(definition)


def test_a_field_that_becomes_secret_changes_the_signature() -> None:
    plain = {**YAML, "parameters": {**YAML["parameters"], "card": {"type": "string", "required": True}}}
    open_result = {**YAML, "tasks": [{key: value for key, value in task.items() if key != "secret"} for task in YAML["tasks"]]}
    assert len({signature(Definition.model_validate(each)) for each in (YAML, plain, open_result)}) == 3


@pytest.mark.parametrize(
    ("stored", "where", "shown"),
    [
        ({"card": {"number": "4111", "holder": "Ada"}}, ["card.number"], {"card": {"number": "***", "holder": "Ada"}}),
        ([{"k": 1}, {"k": 2, "l": 3}], ["[*].k"], [{"k": "***"}, {"k": "***", "l": 3}]),
        ({"a": [1, 2]}, ["a[1]"], {"a": [1, "***"]}),
        ("all", ["*"], "***"),
        (None, ["*"], None),
        ({"a": 1}, ["b.c", "a.b"], {"a": 1}),
        ({"$wf": ["literal", {"$wf": 1, "k": "x"}]}, ["k"], {"$wf": ["literal", {"$wf": 1, "k": "***"}]}),
        ({"x": {"$wf": ["decimal", "9.5"]}}, ["x"], {"x": "***"}),
    ],
)
def test_a_value_is_shown_without_its_secret_places(stored: Any, where: list[str], shown: Any) -> None:
    assert redacted(stored, [path_of(each) for each in where]) == shown


def test_the_texts_of_secret_places_are_found_for_what_must_not_quote_them() -> None:
    stored = encode({"card": {"number": "4111", "cvc": 123, "limit": Decimal("9.5")}, "lines": [{"key": "k1"}, {"key": "k2"}]})
    assert set(texts_at(stored, [path_of("card"), path_of("lines[*].key")])) == {"4111", "123", "9.5", "k1", "k2"}


@pytest.mark.parametrize("written", ["a..b", "a[x]", "[", "a]"])
def test_a_path_that_is_none_is_a_problem(written: str) -> None:
    _, wrong = read({"name": "f", "tasks": [{"name": "a", "action": "x", "secret": [written]}]})
    assert any("is no path" in str(each) for each in wrong)


class Card(BaseModel):
    number: SecretStr
    holder: str
    raw: SecretBytes = SecretBytes(b"")


@dataclass
class Paid:
    token: Annotated[str, Secret()]
    cards: list[Card]
    id: int


@step(name="tests.secrecy.pay")
def pay(card: Card, pin: Annotated[str, Secret()]) -> Paid:
    return Paid(token="t-" + pin, cards=[card], id=1)


@workflow(name="bought", version="1")
def bought(card: Card, pin: Annotated[str, Secret()]) -> Paid:
    paid = pay(card, pin)
    publish(kept=paid)
    tell(text("{}", paid.token), paid.id)
    return paid


@step(name="tests.secrecy.tell")
def tell(what: str, number: int) -> None: ...


def test_annotations_say_what_is_secret_in_the_definition_too() -> None:
    found = secrecy_of(bought.definition)
    assert {name: paths(each) for name, each in found.parameters.items()} == {"card": ["number", "raw"], "pin": ["*"]}
    assert paths(found.results["pay"]) == ["cards[*].number", "cards[*].raw", "token"]
    assert paths(found.inputs["tell"]) == ["what"]
    assert paths(found.inputs["pay"]) == ["card.number", "card.raw", "pin"]
    assert paths(found.output) == paths(found.results["pay"])
    assert not [each for each in problems(bought.definition) if each.severity == "error"]


def test_a_secret_field_is_stored_whole_and_revived_hidden() -> None:
    shape = Shape("pay", pay.fn)
    stored = shape.store("card", Card(number=SecretStr("4111"), holder="Ada", raw=SecretBytes(b"\x00")))
    assert stored == {"number": "4111", "holder": "Ada", "raw": {"$wf": ["bytes", "AA=="]}}
    _, given = shape.bind({"card": stored, "pin": "1"})
    assert given["card"].number.get_secret_value() == "4111"
    assert "4111" not in repr(given)
    assert decode(encode({"x": SecretStr("s")})) == {"x": "s"}
    assert shape.read_result(shape.carry(pay.fn(given["card"], "77"))).cards[0].raw.get_secret_value() == b"\x00"


def test_pydantic_and_a_json_schema_say_it_alike() -> None:
    assert of_schema({"type": "string", "writeOnly": True}) == of_schema({"secret": True}) == frozenset({()})
    recursive = {
        "$ref": "#/$defs/N",
        "$defs": {"N": {"type": "object", "properties": {"next": {"$ref": "#/$defs/N"}, "k": {"secret": True}}}},
    }
    assert ("k",) in of_schema(recursive)
