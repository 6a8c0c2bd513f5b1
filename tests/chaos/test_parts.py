"""The parts of the chaos rig: a rig that cannot fail proves nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import ROOT, Process
from tests.chaos.plans import SHARES, plan_of
from tests.servers.ports import free_port
from tests.servers.postgres import Postgres

Connect = Callable[[], psycopg.Connection[tuple[object, ...]]]


def test_a_seed_gives_the_same_runs_for_ever() -> None:
    first, again, other = ([plan_of(seed, number) for number in range(200)] for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert {plan.kind for plan in first} == set(SHARES)
    assert len({plan.key for plan in first}) == 200


def test_an_end_that_was_not_foretold_is_told() -> None:
    plans = {
        plan.kind: plan for plan in (plan_of(1, number) for number in range(200)) if plan.cancel_after is None or plan.must_be_cancelled
    }
    chain, doomed, endless, evolving = (plans[kind] for kind in ("chain", "doomed", "endless", "evolving"))
    assert chain.wrong("succeeded", chain.answer, None, False) is None
    assert chain.wrong("succeeded", f"{chain.answer}-d", None, False)
    assert chain.wrong("cancelled", None, None, False)
    assert chain.wrong("failed", None, {"message": "lost"}, False)
    assert doomed.wrong("failed", None, {"message": str(doomed.error)}, False) is None
    assert doomed.wrong("failed", None, {"message": "another"}, False)
    assert doomed.wrong("succeeded", None, None, False)
    assert endless.wrong("cancelled", None, None, False) is None
    assert endless.wrong("succeeded", "w-a-b", None, False)
    assert evolving.wrong("succeeded", "3-3-3", None, False) is None
    assert evolving.wrong("succeeded", "3-3-4", None, False)


@pytest.fixture
def through_the_proxy(postgres_url: str, postgres_server: Postgres, tmp_path: Path) -> Iterator[Connect]:
    (tmp_path / "cutting").write_text("0")
    port = free_port()
    command = [sys.executable, "-m", "tests.chaos.proxy", str(port), str(postgres_server.port), str(tmp_path)]
    process = Process("proxy", command, tmp_path, {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}, "the proxy is ready")
    process.start().wait_ready()
    address = f"host=127.0.0.1 port={port} user=postgres dbname={postgres_url.rpartition('/')[2]} sslmode=disable gssencmode=disable"
    yield lambda: psycopg.connect(address, autocommit=True)
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
