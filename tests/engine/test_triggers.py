"""Events start workflows: in the sender's transaction, filtered, and without harm to the sender."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.engine.outside import Outside
from tests.store.rows import look
from wfcelery import adopt, on_event, workflow
from wfcelery.authoring.yaml import load_yaml
from wfcelery.definition.model import signature
from wfcelery.definition.values import loads
from wfcelery.errors import DefinitionProblems
from wfcelery.service import definitions, sending
from wfcelery.store.database import Database

IDLE = "name: idle\ntasks: [{name: w, type: wait, event: placed}, {name: a, action: a, after: w}]\n"
GREET = """
name: $name
version: "$version"
parameters: {order: {type: integer, required: true}, who: {type: [string, "null"], default: nobody}}
triggers:
  - event: placed
    when: "{{ event.data.amount > 5 }}"
    input: {order: "{{ event.data.order }}", who: "{{ event.actor }}"}
    key: "placed-{{ event.data.order }}"
tasks: [{name: greet, action: greet, input: {order: "{{ parameters.order }}"}}]
"""


def greet(name: str = "greet", version: str = "1") -> str:
    return GREET.replace("$name", name).replace("$version", version)


class Shop(Outside):
    """Where something is started by events alone."""

    def __init__(self, database: Database, *texts: str) -> None:
        super().__init__(database, IDLE)
        for text in texts:
            definitions.store(self.context, load_yaml(text))

    def started(self) -> list[tuple[str, dict[str, Any], str | None]]:
        rows = look(self.database, "select workflow, input, key from wf_run where workflow <> 'order' order by id")
        return [(workflow, loads(text), key) for workflow, text, key in rows]


def test_an_event_starts_each_workflow_whose_filter_it_passes(database: Database) -> None:
    shop = Shop(database, greet(), greet("other").replace("> 5", "> 50"))
    event = shop.send("placed", {"order": 1, "amount": 9}, key="x", actor="ada")
    shop.send("placed", {"order": 2, "amount": 3}, key="x")
    shop.settle()
    assert shop.started() == [("greet", {"order": 1, "who": "ada"}, "placed-1")]
    assert look(database, "select status from wf_run where workflow = 'greet'") == [("succeeded",)]
    assert shop.event(event) == "consumed"  # it has done its work


def test_an_event_that_starts_a_run_is_heard_by_who_waits_for_it_too(database: Database) -> None:
    shop = Shop(database, greet())
    shop.send("placed", {"order": 1, "amount": 9})
    shop.settle()
    assert (shop.steps()["w"], len(shop.started())) == ("succeeded", 1)


@pytest.mark.promise("A4")
@pytest.mark.parametrize("commits", [True, False])
def test_an_event_in_the_apps_transaction_starts_its_workflows_if_that_commits(database: Database, commits: bool) -> None:
    shop = Shop(database, greet())
    engine = sa.create_engine(database.url)
    with engine.connect() as connection:
        transaction = connection.begin()
        wish = sending.Wish("placed", {"order": 1, "amount": 9}, "x")
        sending.send(shop.context, wish, {"connection": connection})
        transaction.commit() if commits else transaction.rollback()
    engine.dispose()
    assert len(shop.started()) == (1 if commits else 0)
    assert len(look(database, "select id from wf_event")) == (1 if commits else 0)


def test_one_dedup_key_and_one_run_key_start_once(database: Database) -> None:
    shop = Shop(database, greet())
    for dedup in ("a", "a", "b"):
        shop.send("placed", {"order": 1, "amount": 9}, key="x", dedup=dedup)
    shop.send("placed", {"order": 1, "amount": 9}, key="x", actor="somebody else")
    assert len(shop.started()) == 1
    [(why,)] = look(database, "select why from wf_event where why is not null")
    assert why == "trigger of greet: its key is that of a run with another input"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"order": 1}, "event.data.amount"),
        ({"order": "much", "amount": 9}, "order: it is of type integer, not string"),
        ({"amount": 9}, "event.data.order"),
    ],
)
def test_a_trigger_that_fails_is_recorded_and_harms_nobody(database: Database, data: dict[str, Any], said: str) -> None:
    shop = Shop(
        database, greet(), greet("calm").replace('when: "{{ event.data.amount > 5 }}", ', "").replace("{{ event.data.order }}", "3")
    )
    event = shop.send("placed", data, key="x")
    assert [workflow for workflow, _, _ in shop.started()] in ([], ["calm"])
    [(why,)] = look(database, "select why from wf_event where id = :event", event=event)
    assert said in why
    assert "much" not in why


def test_the_triggers_of_the_newest_published_version_count(database: Database) -> None:
    shop = Shop(database, greet())
    definitions.store(shop.context, load_yaml(greet(version="2").replace("event: placed", "event: paid")))
    shop.send("placed", {"order": 1, "amount": 9}, key="x")
    assert shop.started() == []
    shop.send("paid", {"order": 1, "amount": 9}, key="x")
    assert len(shop.started()) == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("event.data.amount > 5", "parameters.order > 5", "a trigger looks at event alone, there is no parameters yet"),
        ("event.actor", "event.actr", "an event has no 'actr'; did you mean actor?"),
        ('who: "{{ event', 'whom: "{{ event', "greet has no parameter 'whom'; did you mean who?"),
        ('order: "{{ event.data.order }}", ', "", "it gives nothing for order, which greet requires"),
    ],
)
def test_what_is_wrong_with_a_trigger_is_told_when_it_is_published(old: str, new: str, said: str) -> None:
    with pytest.raises(DefinitionProblems) as wrong:
        load_yaml(greet().replace(old, new))
    assert any(said in str(problem) for problem in wrong.value.problems), wrong.value


def test_the_yaml_and_the_python_of_the_page_have_one_signature(sqlite: Database) -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "triggers.md").read_text(encoding="utf-8")
    written, twin = (re.search(rf"```{kind}\n(.*?)```", page, re.DOTALL) for kind in ("yaml", "python"))
    assert written is not None
    assert twin is not None
    names: dict[str, Any] = {"__name__": "page", "workflow": workflow, "on_event": on_event, "send_event": lambda *_, **__: None}
    names["greet"] = adopt("shop.greet", like=_greet)
    exec(twin[1], names)  # noqa: S102 - the page's own example
    assert signature(names["greeting"].definition) == signature(load_yaml(written[1]))
    shop = Shop(sqlite, written[1])
    shop.send("order.placed", {"order": 7, "amount": 9}, actor="ada")
    assert shop.started() == [("greet", {"order": 7, "who": "ada"}, "placed-7")]


def _greet(order: int, who: str | None = None) -> None:
    """What the page's task is like."""
