"""Secret fields stay whole in rows and calls, and are hidden where people read: values, errors, results on the command line."""

from __future__ import annotations

import json

import pytest

from tests.engine.machine import Machine
from tests.engine.test_stored_values import texts
from tests.store.rows import change, look, started
from wfcelery.engine.ports import Call, Outcome, Raised, Returned
from wfcelery.errors import NotFound
from wfcelery.service.context import Context
from wfcelery.service.values import output_of, values_of
from wfcelery.settings import Settings
from wfcelery.store.database import Database
from wfcelery.store.payloads import Payloads

GRAPH = """
name: buy
parameters: {card: {type: object, properties: {number: {type: string, secret: true}}, required: true}, n: {type: integer}}
tasks:
  - {name: pay, action: pay, secret: [token], input: {card: "{{ parameters.card }}", key: "{{ secret.stripe }}"},
     publish: {kept: "{{ task.pay.result.token }}"}}
  - {name: tell, action: tell, needs: [pay], with_items: [1, 2], input: {n: "{{ item }}", paid: "{{ task.pay.result }}"}}
output: {paid: "{{ task.pay.result }}", n: "{{ parameters.n }}"}
"""
CARD, TOKEN = "4111-canary-1", "tok-canary-2"


def bought(database: Database, answer: Outcome | None = None) -> Machine:
    def call(machine: Machine, call: Call) -> Outcome:
        if call.name == "pay":
            assert call.input["card"] == {"number": CARD}
            return answer or Returned({"token": TOKEN, "id": 7})
        assert call.input["paid"] == {"token": TOKEN, "id": 7}
        return Returned(call.input["n"])

    machine = Machine(database, GRAPH, call)
    definition = look(database, "select definition from wf_run")[0][0]
    change(database, "delete from wf_run")
    machine.run = started(database, definition=definition, input=json.dumps({"card": {"number": CARD}, "n": 1}))
    return machine


@pytest.mark.parametrize("limit", [10, 65_536], ids=["beside the rows", "in the rows"])
def test_what_people_read_of_a_run_hides_its_secret_fields(database: Database, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setenv("WFCELERY_SECRET_STRIPE", "sk")
    database.payloads = Payloads(limit)
    machine = bought(database)
    assert machine.work() == "succeeded"
    context = Context(database, Settings())
    shown = values_of(context, machine.run)
    assert "canary" not in shown.model_dump_json()
    assert shown.input == {"card": {"number": "***"}, "n": 1}
    assert shown.variables == {"kept": "***"}
    assert shown.output == output_of(context, machine.run) == {"paid": {"token": "***", "id": 7}, "n": 1}
    steps = {(each.name, each.item): each for each in shown.steps}
    assert steps["pay", None].input == {"card": "{{ parameters.card }}", "key": "{{ secret.stripe }}"}
    assert steps["pay", None].output == {"token": "***", "id": 7}
    assert (steps["tell", 1].input, steps["tell", 1].output) == (2, 2)
    assert any(CARD in text for _, text in texts(database)), "the row keeps it whole"


def test_an_error_that_quotes_a_secret_field_is_cleaned(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WFCELERY_SECRET_STRIPE", "sk")
    machine = bought(database, Raised({"type": "Declined", "code": None, "message": f"card {CARD} was declined"}, final=True))
    assert machine.work() == "failed"
    quoting = [(table, text) for table, text in texts(database) if CARD in text]
    assert [table for table, _ in quoting] == ["wf_run"]
    assert look(database, "select count(*) from wf_run where error like '%4111%'")[0][0] == 0
    assert "card *** was declined" in look(database, "select error from wf_dead_letter")[0][0]


def test_values_of_no_run_are_not_found(database: Database) -> None:
    machine = bought(database)
    change(database, "delete from wf_run")
    with pytest.raises(NotFound):
        values_of(Context(database, Settings()), machine.run)
