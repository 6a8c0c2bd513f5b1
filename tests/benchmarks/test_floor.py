"""The floor gives right answers, and keeps what a durable engine cannot do without."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from psycopg import errors


@pytest.fixture
def floor(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Its modules on an empty database, its rings in a list."""
    monkeypatch.setenv("BENCH_BROKER", "memory://")
    monkeypatch.setenv("BENCH_DATABASE", postgres_url.replace("+psycopg", ""))
    from benchmarks.sides.floor import plans, schema, statements, store, worker  # noqa: PLC0415

    schema.create(os.environ["BENCH_DATABASE"])
    rung: list[tuple[str, ...]] = []
    monkeypatch.setattr(worker, "ring", lambda app, task, calls: rung.extend(calls))
    try:
        yield SimpleNamespace(plans=plans, statements=statements, store=store, worker=worker, rung=rung)
    finally:
        store.connection().close()
        store._connections.clear()


def rows(floor: Any, statement: str) -> list[Any]:
    connection: psycopg.Connection[Any] = floor.store.connection()
    return connection.execute(statement.encode()).fetchall()


def test_a_chain_is_ten_recorded_steps_and_one_commit_each(floor: Any) -> None:
    run = floor.store.start(floor.plans.TEN_IN_A_ROW, 7)

    floor.worker.dispatch.run(str(run))

    assert floor.store.result(run, 1) == 17
    assert rows(floor, "select status, count(*), count(token), count(output) from floor_step group by status") == [
        ("succeeded", 10, 10, 10)
    ]
    assert [version for (version,) in rows(floor, "select version from floor_history order by version")] == list(range(1, 12))


def test_a_fan_out_gives_the_sum_and_claims_every_item_under_a_token(floor: Any) -> None:
    run = floor.store.start(floor.plans.OUT_AND_IN, 100)

    floor.worker.dispatch.run(str(run))
    assert len(floor.rung) == floor.worker.WINDOW
    for arguments in floor.rung:
        floor.worker.work_off.run(*arguments)

    assert floor.store.result(run, 1) == 5050
    assert rows(floor, "select count(*), count(token), count(output) from floor_step where item >= 0") == [(100, 100, 100)]


def test_a_run_that_was_begun_is_not_begun_again(floor: Any) -> None:
    run = floor.store.start(floor.plans.TEN_IN_A_ROW, 7)

    floor.worker.dispatch.run(str(run))
    floor.worker.dispatch.run(str(run))

    assert rows(floor, "select count(*) from floor_step") == [(10,)]


def test_an_attempt_that_is_not_this_workers_any_more_writes_nothing(floor: Any) -> None:
    run, id_, token = floor.store.start(floor.plans.TEN_IN_A_ROW, 7), floor.store.new_id(), floor.store.new_token()
    born = {"next_id": id_, "next": "s0", "next_token": token, "worker": "w", "given": "7", "run": run, "facts": "[]"}
    floor.store.over_the_version(floor.statements.BEGIN, born)
    ended = born | {"version": 1, "id": id_, "token": floor.store.new_token(), "output": "8"}

    with pytest.raises(errors.DivisionByZero):
        floor.store.over_the_version(floor.statements.END_RUN, ended)

    assert rows(floor, "select status, version from floor_run") == [("running", 1)]
