"""A worker without a broker, and a prefork worker that has one beside itself while its broker is away."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet
from tests.servers.valkey import Valkey
from wfcelery.worker.beside import command_beside

NOWHERE = "redis://127.0.0.1:1/0"


def fleet_on(folder: Path, url: str, broker: str, **environment: str) -> Fleet:
    return Fleet(folder, database_url=url, broker_url=broker, environment=environment).upgrade()


def test_wfcelery_worker_with_the_database_as_bell_carries_a_run_without_a_broker(tmp_path: Path, sqlite_url: str) -> None:
    fleet = fleet_on(tmp_path, sqlite_url, NOWHERE)
    try:
        command = ("worker", "-A", fleet.app, "--bell", "database", "-P", "threads", "-c", "2", "-E")
        worker = fleet.wfcelery("worker", *command, ready=" ready.").wait_ready()
        assert fleet.result(fleet.start("chain.bind('a')")) == "a-1-2-3"
        assert worker.stop() == 0
    finally:
        fleet.close()


def test_a_prefork_worker_that_carries_on_has_one_beside_it_while_the_broker_is_away(
    tmp_path: Path, sqlite_url: str, redis_server: Valkey, redis_url: str
) -> None:
    fleet = fleet_on(tmp_path, sqlite_url, redis_url, WFCELERY_BROKER_LOSS="carry_on", WFCELERY_CARRY_ON_AFTER="1")
    try:
        worker = fleet.worker().wait_ready()
        assert fleet.result(fleet.start("chain.bind('a')")) == "a-1-2-3"
        redis_server.stop()
        run = fleet.start("chain.bind('b')")
        assert fleet.result(run, within=40) == "b-1-2-3"
        assert "carries on, with the database as its bell" in worker.said()
        redis_server.start()
        worker.wait_says("the broker is back", within=40)
        names = "select name from wf_worker where name like 'beside-%'"
        eventually(lambda: fleet.query(names) == [], within=30, what="the other worker has ended", explain=worker.tail)
        assert fleet.result(fleet.start("chain.bind('c')")) == "c-1-2-3"
    finally:
        redis_server.ensure_running()
        fleet.close()


def test_the_other_worker_has_the_command_line_of_the_first() -> None:
    command = command_beside(["python3", "/bin/celery", "-A", "shop", "worker", "-n", "a@%h", "-Q", "one", "--pidfile=/run/a.pid"])
    assert command is not None
    assert command[1:7] == ["/bin/celery", "-A", "shop", "worker", "-n", "a@%h"]
    assert command[-2:] == ["--pidfile", ""]
    assert any(part.startswith("beside-") for part in command)
    assert command_beside(["python3", "script.py"]) is None
