"""The tests' own servers do what tests will ask of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import amqp
import psycopg
import pytest

from tests.acceptance.eventually import eventually
from tests.servers import caretaker
from tests.servers.postgres import Postgres
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.valkey import Valkey


def test_postgres_is_durable_and_never_root(postgres_server: Postgres) -> None:
    assert postgres_server.execute("show fsync") == [("on",)]
    assert postgres_server.execute("show synchronous_commit") == [("on",)]
    assert Path(f"/proc/{postgres_server.pid}").stat().st_uid != 0


def test_postgres_keeps_what_was_committed_over_a_kill(postgres_server: Postgres) -> None:
    postgres_server.execute("create table kept (n int)")
    postgres_server.execute("insert into kept values (1)")
    postgres_server.kill()
    postgres_server.start()
    assert postgres_server.execute("select n from kept") == [(1,)]
    postgres_server.execute("drop table kept")


def test_postgres_restarts_on_its_port_and_ends_all_connections(postgres_server: Postgres) -> None:
    port = postgres_server.port
    with postgres_server.connect() as connection:
        postgres_server.restart()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    assert (postgres_server.port, postgres_server.execute("select 1")) == (port, [(1,)])


def test_a_database_can_be_the_copy_of_another(postgres_server: Postgres) -> None:
    template = postgres_server.create_database()
    postgres_server.execute("create table copied (n int)", template)
    copy = postgres_server.create_database(template=template)
    assert postgres_server.execute("select count(*) from copied", copy) == [(0,)]
    postgres_server.drop_database(copy)
    postgres_server.drop_database(template)


def test_both_urls_of_a_database_lead_to_it(postgres_server: Postgres) -> None:
    for url in (postgres_server.url(), postgres_server.socket_url()):
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            assert connection.execute("select 1").fetchone() == (1,)


def test_valkey_keeps_its_queues_over_a_restart_and_loses_them_to_a_flush(redis_server: Valkey) -> None:
    with redis_server.client() as client:
        client.lpush("queue", "message")
    redis_server.restart()
    with redis_server.client() as client:
        assert client.llen("queue") == 1
        redis_server.flush()
        assert client.llen("queue") == 0


def test_valkey_can_be_killed_and_started_again(redis_server: Valkey) -> None:
    redis_server.kill()
    redis_server.start()
    with redis_server.client() as client:
        assert client.ping()


def test_rabbitmq_is_a_node_of_its_own(rabbitmq_server: RabbitMQ) -> None:
    assert rabbitmq_server.port != 5672
    with amqp.Connection(f"127.0.0.1:{rabbitmq_server.port}", userid="guest", password="guest") as connection:
        channel = connection.channel()
        channel.queue_declare("a-queue", auto_delete=True)
        channel.basic_publish(amqp.Message("hello"), routing_key="a-queue")
        message = eventually(lambda: channel.basic_get("a-queue", no_ack=True))
        assert message.body == "hello"


def test_tests_that_are_killed_leave_no_process_and_no_folder(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from tests.servers import caretaker\n"
        "folder = caretaker.own(Path(sys.argv[1], 'left')); folder.mkdir()\n"
        "p = caretaker.start(['sh', '-c', 'sleep 300 & exec sleep 300'], folder / 'log')\n"
        "print(p.pid, flush=True); time.sleep(300)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        session = int(tests.stdout.readline())
        eventually(lambda: len(caretaker.session_members(session)) == 2)
        os.kill(tests.pid, signal.SIGKILL)
    eventually(lambda: not caretaker.session_members(session) and not (tmp_path / "left").exists())
