"""Large values in another store: put before the commit, fetched between transactions, deleted when nobody refers to them."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest

from tests.engine.test_stored_values import CANARY, TEXTS, Machine, answers, output_of, prepared, texts
from tests.store.rows import change, look, started
from wfcelery.codecs import Encrypting
from wfcelery.core.decision import RingRun
from wfcelery.service.context import Context
from wfcelery.service.expiring import expire
from wfcelery.service.values import values_of
from wfcelery.settings import Settings
from wfcelery.store.database import Database
from wfcelery.store.outside import Elsewhere, again
from wfcelery.store.payloads import Payloads, of
from wfcelery.store.starting import NewRun, insert_run


class Shelf:
    """A store that is a dict, and notices whether a transaction of the engine is open while it is used."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.open = 0
        self.used_inside = 0
        self.gets = 0

    def put(self, key: str, data: bytes) -> None:
        self.used_inside += bool(self.open)
        self.kept[key] = data

    def get(self, key: str) -> bytes | None:
        self.used_inside += bool(self.open)
        self.gets += 1
        return self.kept.get(key)

    def delete(self, key: str) -> None:
        self.kept.pop(key, None)


@pytest.fixture
def shelf(database: Database, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    made = Shelf()
    plain = Database.transaction

    @contextmanager
    def watched(self: Database, *given: Any) -> Any:
        made.open += 1
        try:
            with plain(self, *given) as tx:
                yield tx
                made.open -= 1
        except BaseException:
            raise
        finally:
            made.open = 0

    monkeypatch.setattr(Database, "transaction", watched)
    return made


def fresh(machine: Machine, shelf: Shelf, codec: Any = None) -> None:
    """As a process that has fetched nothing yet."""
    machine.database.payloads = Payloads(300, codec, Elsewhere(shelf))


@pytest.mark.parametrize("codec", [None, Encrypting({"a": bytes(32)})], ids=["plain", "encrypted"])
def test_large_values_are_in_the_other_store_alone_and_a_run_goes_on_with_them(database: Database, shelf: Shelf, codec: Any) -> None:
    machine = prepared(database, Payloads(300, codec, Elsewhere(shelf)))
    machine.keeps = False

    def call(here: Machine, call: Any) -> Any:
        fresh(machine, shelf, codec)
        return answers(here, call)

    machine.meanwhile = call
    assert machine.work() == "succeeded"
    fresh(machine, shelf, codec)
    assert output_of(machine)["all"] == TEXTS
    assert not [table for table, text in texts(database) if CANARY in text]
    assert {row[0] for row in look(database, "select body from wf_payload")} == {None}
    assert len(shelf.kept) == len(look(database, "select id from wf_payload"))
    assert any(CANARY.encode() in data for data in shelf.kept.values()) is (codec is None)
    assert shelf.gets > 0
    assert not machine.problems()


def test_what_the_store_has_lost_parks_the_call_that_needs_it(database: Database, shelf: Shelf) -> None:
    machine = prepared(database, Payloads(300, None, Elsewhere(shelf)))
    machine.keeps = False

    def call(here: Machine, call: Any) -> Any:
        if call.name == "a":
            return answers(here, call)
        raise AssertionError("nothing else can begin")

    machine.meanwhile = call
    machine.rings.clear()
    machine.rings.append(RingRun("default", machine.run, "celery"))
    while not machine.calls["a"]:
        machine.answer_one()
    lost, shelf.kept = shelf.kept, {}
    fresh(machine, shelf)
    for _ in range(3):
        machine.sweep()
        machine.answer()
    assert "is not to be had there" in str(look(database, "select error from wf_step where error is not null"))
    assert not look(database, "select id from wf_dead_letter")
    shelf.kept = lost
    fresh(machine, shelf)
    machine.meanwhile = answers
    assert machine.work() == "succeeded"


def test_values_are_deleted_there_with_their_run_and_so_are_those_of_a_start_that_came_to_nothing(database: Database, shelf: Shelf) -> None:
    machine = prepared(database, Payloads(300, None, Elsewhere(shelf)))
    context = Context(database, Settings())
    assert machine.work() == "succeeded"
    mine = set(shelf.kept)
    other = NewRun(UUID(int=9), "default", "order", "s", '{"n":"' + "y" * 400 + '"}', "d", key="k")
    started(database, key="k")
    with database.single() as tx:
        assert not insert_run(tx, other), "its key is taken"
    assert len(shelf.kept) == len(mine) + 1
    time.sleep(0.02)
    assert expire(context, kept_for=0.01).runs == 1
    assert not mine & set(shelf.kept)
    hour = "interval '2 hours'" if database.dialect == "postgresql" else "7200"
    change(database, f"update wf_payload set loose_at = loose_at - {hour}")
    expire(context, kept_for=0)
    assert not shelf.kept
    assert not look(database, "select id from wf_payload")


def test_people_read_them_as_if_they_stood_in_the_row(database: Database, shelf: Shelf) -> None:
    database.payloads = Payloads(50, None, Elsewhere(shelf))
    run = again(lambda: started(database, definition="nothing", input='{"n":"' + "x" * 100 + '"}'))
    database.payloads = Payloads(50, None, Elsewhere(shelf))
    assert values_of(Context(database, Settings()), run).input == {"n": "x" * 100}


def test_the_store_comes_from_the_settings() -> None:
    found = of(Settings(payload_store=f"{__name__}.Shelf"))
    assert found.elsewhere is not None
    assert isinstance(found.elsewhere.store, Shelf)
