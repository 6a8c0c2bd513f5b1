"""What the chaos rig looks at beside the invariants: each verdict can find what it is for."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any, cast
from uuid import uuid4

import psycopg
import pytest
import sqlalchemy
from kombu import Connection

from tests.acceptance.eventually import eventually
from tests.chaos import beside, killing, queues, resting, verdicts
from tests.chaos.nemesis import MOST, Nemesis
from tests.chaos.plans import canary_of, plan_of
from tests.chaos.stack import Ended, Stack
from tests.chaos.tap import OURS, Tap
from tests.servers.valkey import Valkey
from wfcelery.service.invariants import Ledgers, read_tap
from wfcelery.service.invariants.fleet import messages_hold_ids_alone
from wfcelery.service.invariants.whole import Whole

SEED = 4


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """One with two tables and no process."""
    made = Stack(tmp_path, "embedded")
    made.engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'rows.db'}", poolclass=sqlalchemy.NullPool)
    made.query("create table wf_run (id text, organization_id text, input text, output text, error text)")
    made.query("create table wf_step (id text, organization_id text, input text, output text, error text)")
    made.query("insert into wf_run values ('r1', 'acme', :word, null, null)", word=canary_of(SEED, "acme") + "-1")
    return made


def _begun(stack: Stack, **more: object) -> None:
    line = {"phase": "begun", "key": "k", "run": "r1", "attempt": 1, "token": "t1", "org": "acme", **more}
    with (stack.folder / "raw-effects.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def test_a_claim_that_was_executed_twice_is_told(stack: Stack) -> None:
    _begun(stack)
    _begun(stack, attempt=2, token="t2")
    assert beside.begun_twice(stack, crashes=0) == []
    _begun(stack, attempt=2, token="t2")
    assert beside.begun_twice(stack, crashes=1) == ["step k: token t2 has begun 2 times"]


def test_a_transaction_that_was_repeated_is_one_begin(stack: Stack) -> None:
    """Its connection was cut at COMMIT, and it had not landed."""
    _begun(stack, step="book")
    _begun(stack, step="book")
    assert beside.begun_twice(stack, crashes=0) == []


def test_an_attempt_has_one_claim_unless_the_database_crashed(stack: Stack) -> None:
    _begun(stack)
    _begun(stack, token="t2")
    assert beside.begun_twice(stack, crashes=1) == []
    assert beside.begun_twice(stack, crashes=0) == ["step k: attempt 1 has 2 claims"]


def test_work_and_payloads_in_another_organization_are_told(stack: Stack) -> None:
    _begun(stack)
    assert beside.astray(stack, SEED) == []
    _begun(stack, org="umbra")
    stack.query("insert into wf_step values ('s1', 'umbra', null, :word, null)", word=f'"{canary_of(SEED, "acme")}-1-a"')
    assert beside.astray(stack, SEED) == [
        "step k of run r1 was executed for umbra",
        "1 rows of wf_step hold a payload of acme, and are another's",
    ]


def test_a_log_that_quotes_a_payload_is_told(stack: Stack) -> None:
    word = f"{canary_of(SEED, 'acme')}-7"
    log = stack.folder / "one.log"
    log.write_text("[INFO] Task chaos_app.add[1-2] succeeded in 0.05s: …\n")
    assert beside.leaked(stack, SEED) == []
    log.write_text(f"[INFO] Task chaos_app.add[1-2] succeeded in 0.05s: '{word}-a'\n")
    assert beside.leaked(stack, SEED) == [f"one.log quotes a payload: [INFO] Task chaos_app.add[1-2] succeeded in 0.05s: '{word}-a'"]


@pytest.mark.parametrize(
    ("said", "fault", "why"),
    [
        ("wfcelery.errors.Unavailable: the database cannot be reached: FATAL", "database_restart", "it began while the database was away"),
        ("wfcelery.errors.Unavailable: the database cannot be reached: FATAL", "flush", None),
        ("one@vm ready.\nUnavailable: the database cannot be reached", "database_restart", None),
        ("KeyError: 'task'", "database_restart", None),
    ],
)
def test_a_worker_may_end_by_itself_where_the_database_was_away_when_it_began_and_nowhere_else(
    stack: Stack, said: str, fault: str, why: str | None
) -> None:
    nemesis = Nemesis(stack, Random(1), {}, 1.0)
    nemesis.strikes.append((fault, time.time() - 2.0, time.time() - 1.0))
    assert nemesis.explains(Ended("one", 1, said)) == why


# ---- the broker -------------------------------------------------------------------------------------------------------


def _problems(folder: Path) -> list[str]:
    ledgers = Ledgers(tap=read_tap(folder / "tap.jsonl"), canaries=(canary_of(SEED),))
    return [problem for _, problem in messages_hold_ids_alone(Whole(ledgers, cast(Any, None)))]


def _publish(url: str, body: Mapping[str, object], **more: Any) -> bool:
    wrapped = [[], dict(body), {}]
    with Connection(url) as connection:
        connection.Producer().publish(wrapped, headers={"task": "wfcelery.step"}, routing_key="celery", serializer="json", **more)
    return True


def test_the_tap_sees_what_celery_puts_into_queues_and_tells_what_may_not_be_there(redis_server: Valkey, tmp_path: Path) -> None:
    url, word = redis_server.fresh_url(), f"{canary_of(SEED, 'acme')}-7"
    tap = Tap(redis_server.port, tmp_path, canary_of(SEED)).start()
    right = {"v": 1, "ns": "n", "org": "acme", "run": None, "step": None}
    try:
        eventually(lambda: _publish(url, right) and tap.seen, what="it listens")
        seen = tap.seen["wfcelery.step"]
        _publish(url, right, correlation_id=f"{OURS}1")
        _publish(url, {**right, "word": word})
        _publish(url, {**right, "ns": "n" * 2000})
        with redis_server.client() as client:
            client.set("result", word)
        eventually(lambda: tap.leaks, what="it has seen everything")
    finally:
        tap.close()
    assert tap.seen["wfcelery.step"] == seen + 2
    assert tap.leaks == [f"SET result {word}"]
    first, payload, size = _problems(tmp_path)
    assert (first, payload) == ("a message holds word", "a message holds a payload")
    assert size.endswith(" bytes")


def test_what_is_reordered_or_held_back_is_all_there_afterwards(redis_server: Valkey, stack: Stack) -> None:
    stack.valkey = redis_server
    nemesis = Nemesis(stack, Random(1), {}, 1.0)
    with redis_server.client() as client:
        client.flushdb()
        client.lpush(queues.QUEUE, *(f"m{number}" for number in range(6)))
        assert client.eval(queues.REVERSE, 1, queues.QUEUE) == 6
        assert client.lrange(queues.QUEUE, 0, -1) == [b"m%d" % number for number in range(6)]
        assert queues.delayed(nemesis, Random(2)) == 6
        assert sorted(client.lrange(queues.QUEUE, 0, -1)) == [b"m%d" % number for number in range(6)]
        client.flushdb()


def test_messages_that_nobody_took_are_told_as_left(redis_server: Valkey, stack: Stack) -> None:
    stack.valkey = redis_server
    with redis_server.client() as client:
        client.flushdb()
        client.zadd("unacked_index", {"of a worker that was killed": 100.0, "since": 300.0})
        client.lpush("celery", "m1", "m2")
        assert resting.carried(stack, healed_at=200.0) == {"messages in celery": 2, "messages unacknowledged": 1}
        client.flushdb()


# ---- the client -------------------------------------------------------------------------------------------------------


def test_a_client_that_was_killed_goes_on_where_its_ledger_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chaos_app", ModuleType("chaos_app"))
    client_module = importlib.import_module("tests.chaos.client")
    cancelled = next(number for number in range(900) if plan_of(SEED, number).must_be_cancelled)
    told = [(cancelled, "sent"), (cancelled, "answered"), (901, "sent"), (902, "sent"), (902, "unknown"), (903, "sent"), (903, "answered")]
    lines = [{"phase": phase, "number": number, "run": f"run-{number}"} for number, phase in told]
    (tmp_path / "client.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    client = client_module.Client(tmp_path, SEED)
    client.remember()

    assert sorted(plan.number for plan in client.unanswered) == [901, 902]
    assert [(run, plan.number) for _, run, plan in client.cancels] == [(f"run-{cancelled}", cancelled)]
    assert next(client.numbers) == 904


def test_calls_that_have_no_answer_yet_are_what_a_kill_of_the_client_hits(tmp_path: Path) -> None:
    told = [(number, phase) for number in range(2000) for phase in ("sent", "answered")] + [
        (2000, "sent"),
        (2001, "sent"),
        (2000, "unknown"),
    ]
    lines = "".join(json.dumps({"number": number, "phase": phase}) + "\n" for number, phase in told)
    (tmp_path / "client.jsonl").write_text(lines)
    assert killing.calls_without_answer(tmp_path / "client.jsonl") == {2000, 2001}


def test_no_fault_overlaps_itself_and_no_more_than_so_many_are_under_way(stack: Stack) -> None:
    nemesis = Nemesis(stack, Random(1), dict.fromkeys("abcdefghijklmnop", _lasting), gap=0.01)
    nemesis.run(1.0)
    assert 2 < nemesis.overlapping <= MOST
    windows = sorted(nemesis.strikes)
    assert len(windows) > len(nemesis.deck)
    assert all(before[2] <= after[1] for before, after in pairwise(windows) if before[0] == after[0])


def _lasting(nemesis: Nemesis, random: Random) -> int:
    nemesis.rest(0.1)
    return 1


# ---- what is left, and what was not asked for ---------------------------------------------------------------------------


def test_a_session_that_was_left_in_its_transaction_is_told(postgres_url: str, tmp_path: Path) -> None:
    stack = Stack(tmp_path, "production", database=postgres_url.rpartition("/")[2])
    stack.engine = sqlalchemy.create_engine(postgres_url, poolclass=sqlalchemy.NullPool)
    assert resting.held(stack)["sessions"] == 0
    with psycopg.connect(postgres_url.replace("+psycopg", ""), application_name="wfcelery") as link:
        link.execute("select pg_advisory_xact_lock(7)")
        found = resting.held(stack)
        assert (found["sessions"], found["sessions idle in transaction"], found["advisory locks"]) == (1, 1, 1)


def test_runs_that_are_missing_wrong_or_nobodys_are_told(stack: Stack) -> None:
    chain, other, gone = [plan for plan in (plan_of(SEED, number) for number in range(900)) if plan.kind == "chain"][:3]
    stack.query("drop table wf_run")
    stack.query("create table wf_run (id text, organization_id text, key text, status text, output text, error text)")
    stack.query("alter table wf_step add column lost integer")
    stack.query("alter table wf_step add column run text")
    for plan, output in ((chain, chain.answer), (other, chain.answer), (plan_of(SEED, 901), None)):
        row = {"id": str(uuid4()), "organization": plan.organization, "key": plan.key, "output": json.dumps(output)}
        stack.query("insert into wf_run values (:id, :organization, :key, 'succeeded', :output, null)", **row)
    with (stack.folder / "client.jsonl").open("w") as file:
        file.writelines(json.dumps({"phase": "sent", "number": plan.number}) + "\n" for plan in (chain, other, gone))

    wrong = "\n".join(verdicts.wrong_answers(stack, SEED))

    assert f"{gone.key} of {gone.organization}: there is no such run" in wrong
    assert f"its answer is {chain.answer!r}, and must be {other.answer!r}" in wrong
    assert f"{plan_of(SEED, 901).key} of {plan_of(SEED, 901).organization}: nobody asked for this run" in wrong
    assert len(wrong.splitlines()) == 3
