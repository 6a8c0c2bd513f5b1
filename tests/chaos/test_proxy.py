"""The proxy of the chaos rig: where it cuts, and what its weather does to those who are under way."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import psycopg
import pytest

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import ROOT, Process
from tests.chaos import links
from tests.chaos.nemesis import Nemesis
from tests.chaos.stack import Stack
from tests.servers.ports import free_port
from tests.servers.postgres import Postgres

Connect = Callable[[], psycopg.Connection[tuple[object, ...]]]


def _proxy_to(server: Postgres, database: str, folder: Path) -> tuple[Process, Connect]:
    port = free_port()
    command = [sys.executable, "-m", "tests.chaos.proxy", str(port), str(server.port), str(folder)]
    process = Process("proxy", command, folder, {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}, "the proxy is ready")
    process.start().wait_ready()
    address = f"host=127.0.0.1 port={port} user=postgres dbname={database} sslmode=disable gssencmode=disable"
    return process, lambda: psycopg.connect(address, autocommit=True)


@pytest.fixture
def through_the_proxy(postgres_url: str, postgres_server: Postgres, tmp_path: Path) -> Iterator[Connect]:
    process, connect = _proxy_to(postgres_server, postgres_url.rpartition("/")[2], tmp_path)
    yield connect
    process.close()


def test_the_proxy_cuts_at_the_commit_and_nowhere_else(through_the_proxy: Connect, tmp_path: Path) -> None:
    said = tmp_path / "commits"
    with through_the_proxy() as connection:
        connection.execute("create table t (n int)")
        connection.execute("insert into t values (%s)", [-1])
        connection.execute("begin")
        connection.execute("insert into t values (-2)")
        connection.execute("commit")
    eventually(lambda: json.loads(said.read_text())["commits"] == 2, what="one single statement and one COMMIT were seen")

    (tmp_path / "cutting").write_text("1")
    eventually(lambda: _is_cut(through_the_proxy), what="commits are cut")
    for number in range(30):
        link = through_the_proxy()
        link.execute("begin")
        link.execute("insert into t values (%s)", [number])
        assert link.execute("select count(*) from t where n = %s", [number]).fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError):
            link.execute("commit")
        link.close()
    (tmp_path / "cutting").write_text("0")
    ways = [json.loads(line)["way"] for line in (tmp_path / "cuts.jsonl").read_text().splitlines()]
    assert set(ways) == {"before", "after", "during"}

    with through_the_proxy() as connection:
        there = {row[0] for row in connection.execute("select n from t where n >= 0").fetchall()}
    by_number = dict(enumerate(ways[-30:]))
    assert {number for number, way in by_number.items() if way == "after"} <= there
    assert not {number for number, way in by_number.items() if way == "before"} & there


def _is_cut(connect: Connect) -> bool:
    link = connect()
    try:
        link.execute("insert into t values (-3)")
    except psycopg.OperationalError:
        return True
    finally:
        link.close()
    return False


def _felt(folder: Path) -> dict[str, int]:
    return dict(json.loads((folder / "held").read_text())) if (folder / "held").exists() else {}


def test_a_hole_answers_nobody_until_it_is_over(through_the_proxy: Connect, tmp_path: Path) -> None:
    with through_the_proxy() as link:
        answers: list[object] = []
        (tmp_path / "weather").write_text("hole")
        asking = threading.Thread(target=lambda: answers.append(link.execute("select 7").fetchone()))
        eventually(lambda: _hangs(through_the_proxy), what="a new connection gets no answer")
        asking.start()
        eventually(lambda: _felt(tmp_path).get("hole", 0) >= 2, what="the statement is held too")
        assert answers == []
        (tmp_path / "weather").write_text("clear")
        asking.join(20)
        assert answers == [(7,)]


def test_who_was_held_may_lose_his_connection(through_the_proxy: Connect, tmp_path: Path) -> None:
    link = through_the_proxy()
    (tmp_path / "weather").write_text("hole")
    eventually(lambda: _hangs(through_the_proxy), what="a new connection gets no answer")
    (tmp_path / "weather").write_text("cut")
    with pytest.raises(psycopg.OperationalError):
        for _ in range(10_000):
            link.execute("select 1")
    link.close()
    with through_the_proxy() as another:
        assert another.execute("select 1").fetchone() == (1,)


def test_half_open_leaves_the_server_with_a_transaction_that_nobody_holds(
    through_the_proxy: Connect, postgres_url: str, tmp_path: Path
) -> None:
    idle, busy = through_the_proxy(), through_the_proxy()
    pid = busy.info.backend_pid
    busy.execute("begin")
    (tmp_path / "weather").write_text("half_open 2")
    eventually(lambda: _felt(tmp_path).get("half_open") == 1, what="one link had a transaction open")
    with pytest.raises(psycopg.OperationalError):
        busy.execute("select 1")
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as looking:
        looking.autocommit = True
        state = "select state from pg_stat_activity where pid = %s"
        assert looking.execute(state, [pid]).fetchone() == ("idle in transaction",)
        assert idle.execute("select 1").fetchone() == (1,)
        eventually(lambda: looking.execute(state, [pid]).fetchone() is None, what="the server has learned of it")
    for link in (idle, busy):
        link.close()


def test_a_slow_link_loses_nothing(through_the_proxy: Connect, tmp_path: Path) -> None:
    (tmp_path / "weather").write_text("slow 0.05")
    with through_the_proxy() as link:
        eventually(lambda: link.execute("select 1").fetchone() == (1,) and _felt(tmp_path).get("slow", 0) > 2, what="messages are delayed")
        assert [link.execute("select %s::int", [number]).fetchone() for number in range(5)] == [(number,) for number in range(5)]


def test_a_crowd_leaves_no_connection_to_others_and_counts_whom_it_kept_out(tmp_path: Path) -> None:
    server = Postgres(max_connections="12").start()
    stack = Stack(tmp_path, "production", postgres=server)
    process, connect = _proxy_to(server, "postgres", tmp_path)
    hits: list[int] = []
    try:
        connect().close()
        crowding = threading.Thread(target=lambda: hits.append(links.crowded(Nemesis(stack, Random(1), {}, 1.0), Random(1))))
        crowding.start()
        eventually(lambda: _is_refused(connect), what="nobody else gets a connection")
        crowding.join(60)
        eventually(lambda: not _is_refused(connect), what="it is over")
        assert hits[0] > 0
    finally:
        process.close()
        server.close()


def _is_refused(connect: Connect) -> bool:
    try:
        connect().close()
    except psycopg.OperationalError as problem:
        return "too many clients" in str(problem)
    return False


def _hangs(connect: Connect) -> bool:
    done = threading.Event()

    def ask() -> None:
        with suppress(psycopg.OperationalError):
            connect().close()
        done.set()

    threading.Thread(target=ask, daemon=True).start()
    return not done.wait(0.5)
