"""What is kept beside a run: by name, for a time or as long as the run, in whatever transaction is open."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tests.store.rows import change, look, started
from wfcelery import InvalidInput, NotFound, current_step, get_run, step
from wfcelery.authoring.context import StepContext, step_context
from wfcelery.clock import uuid7
from wfcelery.codecs import Encrypting
from wfcelery.service import context as service
from wfcelery.service.context import Context
from wfcelery.service.expiring import expire
from wfcelery.service.run_data import KeptData
from wfcelery.settings import Settings
from wfcelery.store.database import Database
from wfcelery.store.payloads import Payloads


@pytest.fixture
def kept(database: Database, monkeypatch: pytest.MonkeyPatch) -> KeptData:
    monkeypatch.setattr(service, "_current", None)
    monkeypatch.setattr(service, "_make", lambda: Context(database, Settings(), rings=False))
    return get_run(str(started(database))).data


def of_another(database: Database) -> KeptData:
    return get_run(str(started(database))).data


def test_a_value_is_kept_by_name_and_comes_back_as_json_keeps_it(kept: KeptData, database: Database) -> None:
    for value in (None, 1, "ä\u0000b", {"sum": Decimal("9.50"), "at": datetime(2026, 1, 1, tzinfo=UTC)}, {"$wf": ["secret", "x"]}):
        kept.put("cursor", value)
        assert kept.get("cursor", "default") == value
    assert kept.get("other", 7) == 7
    kept.put("b", 2)
    assert list(kept.keys()) == ["b", "cursor"]
    assert of_another(database).keys() == [], "each run has its own"
    assert kept.delete("b")
    assert not kept.delete("b")
    assert kept.get("b") is None


def test_one_that_has_expired_is_invisible_at_once_and_deleted_by_the_next_look(kept: KeptData, database: Database) -> None:
    kept.put("short", 1, expires="10ms")
    kept.put("long", 2, expires="1h")
    kept.put("for ever", 3)
    time.sleep(0.02)
    assert kept.get("short") is None
    assert list(kept.keys()) == ["for ever", "long"]
    assert kept.add("short", 4, expires="10ms"), "its name is free"
    time.sleep(0.02)
    assert not kept.swap("short", 4, 5)
    assert expire(service.current(), kept_for=0).keys == 1
    assert {row[0] for row in look(database, "select key from wf_data")} == {"for ever", "long"}


def test_the_first_to_add_wins_and_a_swap_wants_what_was_seen(kept: KeptData) -> None:
    assert kept.add("leader", "a")
    assert not kept.add("leader", "b")
    assert kept.get("leader") == "a"
    assert not kept.swap("leader", "b", "c")
    assert kept.swap("leader", "a", {"next": "c"})
    assert kept.swap("leader", {"next": "c"}, "d")
    assert kept.get("leader") == "d"
    assert not kept.swap("nobody", None, 1)


def test_coroutines_have_twins(kept: KeptData) -> None:
    async def all_of_them() -> list[object]:
        await kept.aput("a", 1)
        return [await kept.aadd("a", 2), await kept.aswap("a", 1, 3), await kept.aget("a"), await kept.akeys(), await kept.adelete("a")]

    assert asyncio.run(all_of_them()) == [False, True, 3, ["a"], True]


def test_a_transactional_step_writes_in_its_own_transaction(kept: KeptData, database: Database) -> None:
    run = str(kept._run)
    with pytest.raises(RuntimeError), database.lent(None, 5.0) as (connection, _):
        KeptData(run, "default", connection).put("effect", 1)
        raise RuntimeError("the step failed")
    assert kept.get("effect") is None
    with database.lent(None, 5.0) as (connection, _):
        inside = KeptData(run, "default", connection)
        inside.put("effect", 2)
        assert inside.get("effect") == 2
    assert kept.get("effect") == 2


def test_it_goes_with_its_run_and_so_do_payloads(kept: KeptData, database: Database) -> None:
    database.payloads = Payloads(50)
    run = started(database, input='{"n":"' + "x" * 100 + '"}')
    get_run(str(run)).data.put("a", 1)
    assert look(database, "select id from wf_payload")
    change(database, "update wf_run set status = 'cancelled', version = 1, due_at = null, ring_at = null, ended_at = created_at")
    time.sleep(0.02)
    assert expire(service.current(), kept_for=0.01).runs == 2
    assert not look(database, "select key from wf_data")
    assert not look(database, "select id from wf_payload")


def test_a_payload_whose_start_was_rolled_back_is_deleted_after_an_hour(kept: KeptData, database: Database) -> None:
    database.payloads = Payloads(50)
    started(database, input='{"n":"' + "x" * 100 + '"}')
    lost = uuid7() if database.dialect == "postgresql" else uuid7().hex
    [(mine,)] = look(database, "select id from wf_payload")
    [(other,)] = [(uuid7() if database.dialect == "postgresql" else uuid7().hex,)]
    change(
        database,
        "insert into wf_payload (id, organization_id, run, digest, size, body, at, loose_at)"
        " select :id, organization_id, :run, digest, size, body, at, loose_at from wf_payload",
        id=other,
        run=lost,
    )
    expire(service.current(), kept_for=0)
    assert len(look(database, "select id from wf_payload")) == 2, "its transaction may still be open"
    hour = "interval '2 hours'" if database.dialect == "postgresql" else "7200"
    change(database, f"update wf_payload set loose_at = loose_at - {hour}")
    expire(service.current(), kept_for=0)
    assert look(database, "select id, loose_at from wf_payload") == [(mine, None)]


def test_it_is_encoded_like_every_value(kept: KeptData, database: Database) -> None:
    database.payloads = Payloads(65_536, Encrypting({"a": bytes(32)}))
    kept.put("token", "canary-1")
    assert kept.get("token") == "canary-1"
    assert kept.swap("token", "canary-1", "canary-2")
    assert "canary" not in str(look(database, "select * from wf_data"))


def test_what_cannot_be_kept_is_refused_before_anything_is_written(kept: KeptData, database: Database) -> None:
    for wrong in ("", "\x00", "k" * 300):
        with pytest.raises(InvalidInput, match="data"):
            kept.put(wrong, 1)
    with pytest.raises(InvalidInput, match="more than 1048576"):
        kept.put("large", "x" * 1_100_000)
    with pytest.raises(NotFound):
        KeptData(str(uuid7())).put("a", 1)
    assert not look(database, "select key from wf_data")


@step(name="tests.counts_its_calls")
def counts_its_calls() -> int:
    data = current_step().data
    data.put("calls", data.get("calls", 0) + 1)
    return int(data.get("calls"))


def test_a_step_that_is_called_by_itself_keeps_it_for_the_call() -> None:
    with step_context(StepContext("k")):
        assert [counts_its_calls.fn(), counts_its_calls.fn()] == [1, 2]
        assert current_step().data.add("calls", 0) is False
        assert current_step().data.swap("calls", 2, 5)
        assert current_step().data.keys() == ["calls"]
        assert current_step().data.delete("calls")
    with step_context(StepContext("l")):
        assert counts_its_calls.fn() == 1
