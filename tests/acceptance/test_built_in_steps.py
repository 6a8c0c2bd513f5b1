"""Workflows of built-in steps alone, carried out by a worker whose app knows nothing of them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet
from tests.acceptance.shell import ShellError
from tests.unit.builtin.servers import Mail, Web, mail_server, web_server

ROOT = Path(__file__).resolve().parents[2]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
JSON = {"Content-Type": "application/json"}

INSPECTION = """
name: inspection
version: "1"
parameters: {urls: {type: array, required: true}, most: {type: integer, required: true}}
tasks:
  - {name: rates, action: wf.http, with_items: "{{ parameters.urls }}", on_error: continue, input: {url: "{{ item }}"}, retry: {count: 0}}
  - {name: read, action: wf.sql, needs: [rates], input: {statement: "select id, name from members order by id", database: reports}}
  - {name: meet, action: wf.noop, needs: [read], input: {value: {rows: "{{ task.read.result }}", rates: "{{ task.rates.results }}"}}}
  - {name: enough, action: wf.fail, needs: [meet], when: "{{ parameters.most < 1 }}",
     input: {message: "nothing is allowed", code: none_left}}
output: "{{ task.meet.result.rows }}"
"""


@pytest.fixture
def web() -> Iterator[Web]:
    with web_server() as server:
        yield server


@pytest.fixture
def mail() -> Iterator[Mail]:
    with mail_server() as server:
        yield server


@pytest.fixture
def here(make_fleet: Callable[..., Fleet], postgres_url: str, redis_url: str, web: Web, mail: Mail) -> Fleet:
    """A fleet whose operator has set what workflows may reach; its app imports no built-in step."""
    settings = {
        "OUTGOING_ALLOWED": ["127.0.0.1"],
        "SQL_DATABASES": {"default": "own", "reports": f"{postgres_url}?application_name=reports"},
        "WEBHOOK_SECRETS": {"default": SECRET},
        "EMAIL_URL": f"smtp+plain://shop:hush@127.0.0.1:{mail.port}",
        "EMAIL_FROM": "Club <club@example.com>",
        "POLL": 0.3,
    }
    environment = {f"WFCELERY_{name}": value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
    fleet = make_fleet(database_url=postgres_url, broker_url=redis_url, environment=environment).upgrade()
    fleet.query("create table members (id integer primary key, name text not null, team text not null)")
    return fleet.ready(fleet.worker())


def started(fleet: Fleet, name: str, given: dict[str, object]) -> str:
    return str(fleet.shell(f"start_workflow({name!r}, {given!r}).id"))


@pytest.mark.promise("D20")
def test_a_yaml_of_built_in_steps_runs_on_a_worker_that_never_heard_of_them(here: Fleet, web: Web, mail: Mail) -> None:
    said = here.run("definitions", "publish", str(ROOT / "tasks" / "members.yaml"))
    assert said.startswith("welcome\t1\trevision 1\tnew\t")
    directory = web.says("/members", (503, {}, b"hush"), (200, JSON, b'{"team": "north"}'))
    partner = web.says("/hook", (500, {}, b""), (204, {}, b""))
    member = {"id": 7, "name": "Ann; drop table members", "email": "ann@example.com"}
    run = started(here, "welcome", {"member": member, "directory": directory, "partner": partner})

    (message,) = eventually(lambda: mail.messages, within=30)
    assert here.result(run) == message["Message-ID"]
    assert (message["To"], message["From"]) == ("ann@example.com", "Club <club@example.com>")
    assert message.get_content().splitlines() == ["Dear Ann; drop table members,", "", "you are in team north."]
    assert here.query("select id, name, team from members") == [(7, "Ann; drop table members", "north")]

    asked = [request.path for request in web.requests if request.method == "GET"]
    assert asked == ["/members?member=7"] * 2, "503 is tried again"
    first, second = (request for request in web.requests if request.method == "POST")
    assert json.loads(second.body)["data"] == {"id": 7, "team": "north"}
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert here.faults() == {}
    logs = "\n".join(here.logs(10_000).values())
    assert [word for word in ("hush", "drop table", "ann@example.com", "north", SECRET) if word in logs] == []


@pytest.mark.promise("D20")
def test_a_statement_on_the_database_of_our_tables_is_one_commit_with_its_result(here: Fleet, web: Web) -> None:
    here.run("definitions", "publish", str(ROOT / "tasks" / "members.yaml"))
    directory = web.says("/members", (200, JSON, b'{"team": null}'))
    run = started(here, "welcome", {"member": {"id": 8, "name": "Bob", "email": "b@example.com"}, "directory": directory, "partner": "x"})
    assert here.ended(run) == "failed"
    (failed,) = here.query("select error from wf_step where name = 'keep' and status = 'failed'")
    assert json.loads(failed[0]) == {
        "type": "StatementRefused",
        "code": "23502",
        "message": "the database did not execute the statement: NotNullViolation (23502), table members, column team",
    }
    assert here.query("select count(*) from members") == [(0,)]
    assert here.faults() == {}


LEDGER = """
name: written_down
version: "1"
tasks:
  - name: book
    action: wf.sql
    input: {statement: "insert into ledger (key) select :idempotency_key from (select 1 as one) as once"}
  - {name: count, action: wf.sql, after: [book], input: {statement: "select count(*) as n, count(distinct key) as keys from ledger"}}
output: "{{ task.count.result }}"
"""
SLOWLY = LEDGER.replace("(select 1 as one)", "pg_sleep(2)")


@pytest.mark.promise("D20", "D10")
def test_a_worker_that_dies_in_a_statement_leaves_it_undone_and_the_next_attempt_does_it(here: Fleet, tmp_path: Path) -> None:
    file = tmp_path / "written_down.yaml"
    file.write_text(SLOWLY)
    here.run("definitions", "publish", str(file))
    here.query("create table ledger (key text)")
    run = started(here, "written_down", {})
    asleep = "select count(*) from pg_stat_activity where query like 'insert into ledger%' and state = 'active' and pid <> pg_backend_pid()"
    eventually(lambda: here.query(asleep) == [(1,)])
    for child in here.processes[0].children():
        os.kill(child, signal.SIGKILL)
    assert here.result(run) == [{"n": 1, "keys": 1}]
    assert here.query("select attempt from wf_step where name = 'book'") == [(2,)]
    assert here.faults() == {}


def test_the_same_on_sqlite(make_fleet: Callable[..., Fleet], sqlite_url: str, tmp_path: Path) -> None:
    environment = {"WFCELERY_SQL_DATABASES": '{"default": "own"}', "WFCELERY_POLL": "0.3"}
    fleet = make_fleet(database_url=sqlite_url, broker_url="memory://localhost//", environment=environment).upgrade()
    fleet.query("create table ledger (key text)")
    (file := tmp_path / "written_down.yaml").write_text(LEDGER)
    fleet.run("definitions", "publish", str(file))
    fleet.ready(fleet.database_worker(pool="threads"))
    runs = [started(fleet, "written_down", {}) for _ in range(3)]
    assert max(fleet.result(run)[0]["n"] for run in runs) == 3
    assert fleet.query("select count(*), count(distinct key) from ledger") == [(3, 3)]
    assert fleet.faults() == {}


@pytest.mark.promise("D20")
def test_a_refusal_is_final_and_names_what_it_is(here: Fleet, web: Web, tmp_path: Path) -> None:
    file = tmp_path / "inspection.yaml"
    file.write_text(INSPECTION)
    here.run("definitions", "publish", str(file))
    here.query("insert into members values (1, 'Ann', 'north')")
    urls = [web.says("/eur", (200, JSON, b"1.5")), web.says("/gone", (404, {}, b"")), "http://169.254.169.254/latest/meta-data/"]
    run = started(here, "inspection", {"urls": urls, "most": 1})
    assert here.result(run) == [{"id": 1, "name": "Ann"}]
    errors = here.query("select item, error from wf_step where name = 'rates' and status = 'failed' and item >= 0 order by item")
    assert [(item, json.loads(error)["type"], json.loads(error)["code"]) for item, error in errors] == [
        (1, "HttpClientError", "404"),
        (2, "AddressRefused", "address_refused"),
    ]
    over = started(here, "inspection", {"urls": [], "most": 0})
    with pytest.raises(ShellError, match="failed at step enough: Fail: nothing is allowed"):
        here.result(over)


def test_a_built_in_step_is_an_ordinary_task_too(here: Fleet, web: Web) -> None:
    url = web.says("/rung", (200, {}, b""))
    here.shell(f"__import__('wfcelery.builtin').builtin.http.delay({url!r}).id")
    eventually(lambda: web.requests, within=20)
