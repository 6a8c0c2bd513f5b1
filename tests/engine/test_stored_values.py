"""Large values stand beside their rows, and encoded ones in them, on either database; nobody above the store notices."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from tests.engine.machine import Machine
from tests.store.rows import change, look, started
from wfcelery.codecs import Encrypting, ValueContext
from wfcelery.core.decision import RingRun
from wfcelery.definition.values import loads
from wfcelery.engine.ports import Call, Outcome, Returned
from wfcelery.errors import CannotRead, Misconfigured
from wfcelery.settings import Settings
from wfcelery.store import reading, schema
from wfcelery.store.database import Database
from wfcelery.store.outside import again
from wfcelery.store.payloads import Payloads, of

GRAPH = """
name: order
parameters: {text: {type: string, required: false, default: ""}}
tasks:
  - {name: a, action: a, input: {x: "{{ parameters.text }}"}}
  - {name: b, action: b, needs: [a], publish: {seen: "{{ task.b.result }}"},
     input: {given: "{{ task.a.result }}", more: "{{ task.a.result.texts[0] ~ '!' }}"}}
  - {name: c, action: c, needs: [a], with_items: "{{ task.a.result.texts }}", input: {x: "{{ item }}"}}
output: {all: "{{ task.c.results }}", text: "{{ parameters.text }}", seen: "{{ vars.seen }}"}
"""
CANARY = "canary-7f3a"
TEXTS = [f"{CANARY} {number} " + "ä" * 400 for number in range(3)]
KEYS: dict[str, str | bytes] = {"2026": bytes(range(32)), "2025": bytes(range(1, 33))}


def answers(machine: Machine, call: Call) -> Outcome | None:
    if call.name == "a":
        return Returned({"texts": TEXTS})
    if call.name == "b":
        assert call.input == {"given": {"texts": TEXTS}, "more": TEXTS[0] + "!"}
        return Returned("short")
    return Returned(call.input["x"])


def prepared(database: Database, payloads: Payloads) -> Machine:
    database.payloads = payloads
    machine = Machine(database, GRAPH, answers)
    definition = look(database, "select definition from wf_run")[0][0]
    change(database, "delete from wf_run")
    machine.run = again(lambda: started(database, definition=definition, input=json.dumps({"text": f"{CANARY} " + "b" * 3000})))
    return machine


def texts(database: Database) -> Iterator[tuple[str, str]]:
    """Every text of every table, but the payloads'."""
    with database.engine.connect() as connection:
        for table in schema.metadata.sorted_tables:
            for row in connection.execute(sa.text(f"select * from {table.name}")):
                for value in row:
                    if isinstance(value, str):
                        yield table.name, value


def output_of(machine: Machine) -> Any:
    with machine.database.single() as tx:
        found = reading.outcome(tx, machine.run)
    assert found is not None
    assert found.output is not None
    return loads(found.output)


def test_a_large_value_stands_beside_its_row_once_and_is_read_as_if_it_stood_there(database: Database) -> None:
    machine = prepared(database, Payloads(300))
    assert machine.work() == "succeeded"
    assert output_of(machine) == {"all": TEXTS, "text": f"{CANARY} " + "b" * 3000, "seen": "short"}
    assert not [table for table, text in texts(database) if CANARY in text and table not in ("wf_payload", "wf_definition")]
    assert all(len(text) < 400 for table, text in texts(database) if table in ("wf_run", "wf_step"))
    digests = [row[0] for row in look(database, "select digest from wf_payload")]
    assert len(digests) == len(set(digests)), "one that is passed on is kept once"
    assert {row[0] for row in look(database, "select run from wf_payload")} <= {machine.run, machine.run.hex}
    assert not machine.problems()


def test_a_small_value_stays_in_its_row(database: Database) -> None:
    machine = prepared(database, Payloads(65_536))
    assert machine.work() == "succeeded"
    assert not look(database, "select id from wf_payload")


@pytest.mark.parametrize("limit", [300, 65_536], ids=["beside the row", "in the row"])
def test_an_encrypted_run_leaves_nothing_to_read(database: Database, limit: int) -> None:
    machine = prepared(database, Payloads(limit, Encrypting(KEYS)))
    assert machine.work() == "succeeded"
    assert output_of(machine)["all"] == TEXTS
    assert not [(table, text[:80]) for table, text in texts(database) if CANARY in text]
    assert not machine.problems(), "the sealed digests of the history are those of the values"


def test_without_the_key_a_call_is_parked_and_with_it_the_run_goes_on(database: Database) -> None:
    machine = prepared(database, Payloads(65_536, Encrypting(KEYS)))
    machine.meanwhile = lambda machine, call: _take_key_away(machine) if call.name == "a" else answers(machine, call)
    executing_until_parked(machine)
    [(error,)] = look(database, "select error from wf_step where name = 'b'")
    assert "codec or the key" in error
    assert CANARY not in error
    database.payloads = Payloads(65_536, Encrypting(KEYS))
    assert machine.work() == "succeeded"
    assert output_of(machine)["all"] == TEXTS
    assert not machine.problems()


def _take_key_away(machine: Machine) -> Outcome:
    return Returned({"texts": TEXTS})


def executing(machine: Machine, step: str) -> None:
    """Work off what rings until that step is parked."""
    machine.rings.append(RingRun("default", machine.run, "celery"))
    for _ in range(50):
        if look(machine.database, "select id from wf_step where name = :step and error is not null", step=step):
            return
        machine.sweep()
        machine.answer()
    raise AssertionError(f"{step} was not parked")


def executing_until_parked(machine: Machine) -> None:
    """Begin and do `a` with the key, then go on without it until `b` is parked."""
    whole = machine.database.payloads
    machine.keeps = False
    machine.rings.append(RingRun("default", machine.run, "celery"))
    while not machine.calls["a"]:
        machine.answer_one()
    machine.database.payloads = Payloads(whole.limit)
    executing(machine, "b")


def test_a_value_of_another_organization_cannot_be_read() -> None:
    codec = Encrypting(KEYS)
    coded = codec.encode(b"mine", ValueContext("acme", None, "input"))
    assert codec.decode(coded, ValueContext("acme", "r", "output")) == b"mine"
    with pytest.raises(CannotRead, match="another organization"):
        codec.decode(coded, ValueContext("rival", None, "input"))
    with pytest.raises(CannotRead, match="changed"):
        codec.decode(coded[:-1] + bytes([coded[-1] ^ 1]), ValueContext("acme", None, "input"))


def test_keys_are_rotated_while_old_values_are_read_and_inputs_stay_comparable() -> None:
    old = Encrypting({"2025": KEYS["2025"]})
    coded = old.encode(b"kept", ValueContext("acme", None, "input"))
    new = Encrypting(KEYS)
    assert new.decode(coded, ValueContext("acme", None, "input")) == b"kept"
    assert new.encode(b"x", ValueContext("acme", None, "input"))[2:6] == b"2026"
    assert new.digest(b"kept", "acme") == old.digest(b"kept", "acme") != new.digest(b"kept", "rival")
    with pytest.raises(CannotRead, match="'2026' is not in the ring"):
        old.decode(new.encode(b"x", ValueContext("acme", None, "input")), ValueContext("acme", None, "input"))


def test_the_ring_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WFCELERY_CODEC_KEYS", "b:" + base64.b64encode(bytes(32)).decode())
    found = of(Settings(codec="wfcelery.codecs.Encrypting"))
    assert isinstance(found.codec, Encrypting)
    assert found.codec.current == "b"
    assert "AAAA" not in repr(found)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({}, "needs a key"),
        ({"a": "c2hvcnQ="}, "32 random bytes"),
        ({"a": "?"}, "32 random bytes"),
        ({"a b": bytes(32)}, "name of a codec's key"),
    ],
)
def test_a_bad_ring_is_refused_at_the_start(keys: dict[str, str | bytes], says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        Encrypting(keys)


@pytest.mark.parametrize(("path", "says"), [("shop.nothing", "cannot be loaded"), ("json.dumps", "lacks encode, decode, digest")])
def test_a_codec_that_is_none_is_refused_at_the_start(path: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        of(Settings(codec=path))
