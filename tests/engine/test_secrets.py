"""A secret is looked up just before the call, by whoever makes it, and is written down nowhere."""

from __future__ import annotations

import json

import pytest

from tests.engine.machine import Machine
from tests.engine.test_stored_values import executing, texts
from tests.store.rows import look
from wfcelery.definition.values import dumps, encode
from wfcelery.engine.ports import Call, Outcome, Raised, Returned
from wfcelery.engine.secrets import Environment
from wfcelery.store.database import Database

GRAPH = """
name: order
tasks:
  - {name: pay, action: pay, input: {token: "{{ secret.stripe }}", deep: [{key: "{{ secret.stripe }}"}], plain: 1}}
  - {name: label, action: label, needs: [pay], with_items: [1, 2], input: {x: "{{ item }}", token: "{{ secret.stripe }}"}}
"""
CANARY = "sk-canary-91f2"


class Vault:
    """A provider of the app's own."""

    def get(self, name: str, organization_id: str) -> str | None:
        if name == "broken":
            raise RuntimeError(f"the vault said {CANARY}")
        return f"{CANARY} of {organization_id}" if name == "stripe" else None


def test_the_call_gets_the_secret_and_no_row_does(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WFCELERY_SECRET_STRIPE", CANARY)
    seen: list[object] = []

    def call(machine: Machine, call: Call) -> Outcome:
        seen.append(call.input)
        assert CANARY not in repr(call).replace(repr(call.input), "")
        return Returned(None)

    machine = Machine(database, GRAPH, call)
    assert machine.work() == "succeeded"
    assert seen[0] == {"token": CANARY, "deep": [{"key": CANARY}], "plain": 1}
    assert seen[1:] == [{"x": 1, "token": CANARY}, {"x": 2, "token": CANARY}]
    assert not [table for table, text in texts(database) if CANARY in text]
    assert not machine.problems()


def test_an_unknown_secret_parks_the_call_until_it_is_known(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WFCELERY_SECRET_STRIPE", raising=False)
    machine = Machine(database, GRAPH, lambda machine, call: Returned(None))
    executing(machine, "pay")
    [(error, attempt)] = look(database, "select error, failures from wf_step where name = 'pay'")
    assert "there is no secret 'stripe'" in error
    assert "WFCELERY_SECRET_STRIPE" in error
    assert attempt == 0, "nothing is spent"
    monkeypatch.setenv("WFCELERY_SECRET_STRIPE", CANARY)
    assert machine.work() == "succeeded"


@pytest.mark.parametrize(
    "said",
    [f"401 for token {CANARY}!", "x" * 480 + f" {CANARY} more", "x" * 485 + f" {CANARY}"[: 500 - 485]],
    ids=["whole", "whole, late", "cut"],
)
def test_an_error_that_quotes_a_secret_is_cleaned(database: Database, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("WFCELERY_SECRET_STRIPE", CANARY)
    raised = Raised({"type": "HTTPError", "code": CANARY, "message": said}, final=True)
    machine = Machine(database, GRAPH, lambda machine, call: raised)
    assert machine.work() == "failed"
    assert not [table for table, text in texts(database) if CANARY[:6] in text]
    assert "***" in json.dumps(look(database, "select error from wf_run"))


def test_a_provider_is_asked_for_the_organization_and_its_own_errors_are_not_told(database: Database) -> None:
    seen: list[object] = []
    machine = Machine(database, GRAPH, lambda machine, call: seen.append(call.input) or Returned(None))  # type: ignore[func-returns-value]
    machine.runtime.settings = machine.runtime.settings.model_copy(update={"secrets": f"{__name__}.Vault"})
    assert machine.work() == "succeeded"
    assert seen[1] == {"x": 1, "token": f"{CANARY} of default"}
    broken = Machine(database, GRAPH.replace("secret.stripe", "secret.broken"))
    broken.runtime.settings = machine.runtime.settings
    executing(broken, "pay")
    [(error,)] = look(database, "select error from wf_step where error is not null")
    assert "the provider raised RuntimeError" in error
    assert CANARY not in error


def test_an_organization_has_secrets_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WFCELERY_SECRET_STRIPE", "everybody's")
    monkeypatch.setenv("WFCELERY_SECRET_STRIPE__acme", "acme's")
    known = Environment()
    assert [known.get("stripe", each) for each in ("acme", "Acme", "a_cme", "other")] == ["acme's", *["everybody's"] * 3]
    assert known.get("nothing", "acme") is None


def test_data_that_looks_like_a_reference_to_a_secret_stays_data() -> None:
    assert dumps(encode({"$wf": ["secret", "stripe"]})) == '{"$wf":["literal",{"$wf":["secret","stripe"]}]}'
