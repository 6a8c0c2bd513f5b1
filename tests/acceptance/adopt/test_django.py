"""A Django project adopts wfcelery: the wheel, three lines, `wfcelery db upgrade`, and the processes it had."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from celery import Celery
from sqlalchemy.engine import make_url

from tests.acceptance.adopt.teams import Team, Web, add_three_lines, make_django_project, migrate, run_in
from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet, Process
from tests.servers.ports import free_port
from tests.servers.valkey import Valkey

SETTINGS = """
import json
from celery.app.defaults import DEFAULTS
from proj.celery import app
app.loader.import_default_modules()
print(json.dumps({name: repr(getattr(app.conf, name)) for name in DEFAULTS}))
"""


@pytest.fixture(scope="module")
def settings_before() -> dict[str, str]:
    """The app's settings before the three lines were added; filled by `shop`."""
    return {}


@pytest.fixture(scope="module")
def shop(make_fleet: Callable[[str], Fleet], settings_before: dict[str, str]) -> Iterator[Team]:
    """The project, with its tables and its web server; no worker, no beat."""
    fleet = make_fleet("proj")
    make_django_project(fleet)
    settings_before.update(json.loads(run_in(fleet, fleet.python, "-c", SETTINGS)))
    add_three_lines(fleet.folder / "proj" / "celery.py")
    migrate(fleet)
    team = Team(fleet, Web(fleet, "web", "manage.py", "runserver", "--noreload", "{port}", ready="Starting development server"))
    team.wfcelery("db", "upgrade")
    team.web.process.wait_ready()
    yield team
    fleet.close()


def test_nothing_but_the_wheel_is_installed_and_only_documented_settings_differ(shop: Team, settings_before: dict[str, str]) -> None:
    settings, where = shop.script(SETTINGS + "import wfcelery; print(wfcelery.__file__)").splitlines()
    assert Path(where).is_relative_to(Path(shop.fleet.python).parents[1])
    after = json.loads(settings)
    changed = {name for name in settings_before.keys() | after.keys() if settings_before.get(name) != after.get(name)}
    assert changed == {"beat_schedule", "broker_transport"}


TEST_RUN = """
import django
django.setup()
from django.db import connection
from django.test.utils import setup_databases, teardown_databases
from wfcelery.service.context import current
made = setup_databases(verbosity=0, interactive=False)
print(connection.settings_dict["NAME"], current().database.url.rpartition("/")[2])
current().database.close()
teardown_databases(made, verbosity=0)
"""


def test_a_test_run_of_django_does_not_reach_the_projects_own_database(shop: Team) -> None:
    djangos, ours = shop.script(TEST_RUN).split()
    assert djangos == ours == f"test_{make_url(shop.fleet.database_url).database}"


def test_problems_of_workflows_are_a_system_check(shop: Team) -> None:
    check = f"{shop.fleet.python} manage.py check 2>&1"
    assert "no issues" in run_in(shop.fleet, "sh", "-c", check)
    told = run_in(shop.fleet, "sh", "-c", check, code=1, environment={"SHOP_FAULT": "yes"})
    assert "(wfcelery.E001) faulty:" in told
    assert "pakc" in told


# ---- one commit with the app ---------------------------------------------------------------------------------------------


@pytest.fixture
def quiet_broker(shop: Team) -> None:
    """No message waits, and nobody is there to take one."""
    shop.stop("worker")
    shop.forget_messages()


def test_a_rollback_leaves_neither_order_nor_run(shop: Team, quiet_broker: None) -> None:
    status, _ = shop.web.request("place", customer="Ada", refused="yes")
    assert status == 500
    assert shop.orders("Ada") == []
    assert shop.runs_for("Ada") == []
    assert shop.messages() == 0


def test_a_commit_starts_one_run_and_rings_once(shop: Team, quiet_broker: None) -> None:
    placed = shop.web.get("place", customer="Grace")
    assert shop.orders("Grace") == ["Grace"]
    assert shop.runs_for("Grace") == [placed["run"]]
    assert shop.messages() == 1


def test_savepoints_decide_as_the_transaction_does_and_the_ring_waits_for_the_outermost_commit(shop: Team, quiet_broker: None) -> None:
    filled = shop.web.get("basket", customer="Edsger")
    assert sorted(shop.orders("Edsger")) == ["Edsger kept", "Edsger released"]
    assert shop.runs_for("Edsger") == filled["runs"]
    assert filled["rung_before_commit"] == 0
    assert shop.messages() == 2


def test_tables_in_another_database_let_the_start_wait_for_the_commit_and_the_log_says_so_once(
    shop: Team, new_database: Callable[[], str], quiet_broker: None
) -> None:
    environment = {"SHOP_TABLES": new_database()}
    shop.wfcelery("db", "upgrade", environment=environment)
    arguments = ("manage.py", "runserver", "--noreload", "{port}")
    web = Web(shop.fleet, "web with other tables", *arguments, ready="Starting development server", environment=environment)
    web.process.wait_ready()

    assert web.request("place", customer="Kurt", refused="yes")[0] == 500
    filled = web.get("basket", customer="Kurt")
    placed = web.get("place", customer="Kurt")

    assert shop.orders("Kurt") == ["Kurt", "Kurt kept", "Kurt released"]
    assert shop.runs_for("Kurt") == [], "none in the project's own database"
    elsewhere = shop.wfcelery("runs", "list", "--quiet", environment=environment).split()
    assert sorted(elsewhere) == sorted([*filled["runs"], placed["run"]])
    assert filled["rung_before_commit"] == 0
    assert shop.messages() == 3
    assert web.process.said().count("starts after its commit, and is lost if this process dies in between") == 1
    web.process.kill_all()


# ---- the processes they have ---------------------------------------------------------------------------------------------


@pytest.fixture
def worker(shop: Team) -> Process:
    """One ordinary worker, with events, for the queues of the shop; the same one for all tests."""
    found = shop.find("worker") or shop.fleet.worker(queues="celery,mail", concurrency=1)
    return (found if found.alive else found.start()).wait_ready()


@pytest.fixture
def beat(shop: Team) -> Iterator[Process]:
    beat = shop.fleet.beat().wait_ready()
    yield beat
    beat.kill_all()


@pytest.mark.promise("B9", "E19")
def test_one_worker_and_one_beat_carry_a_run_through_a_sigkill(shop: Team, worker: Process, beat: Process) -> None:
    placed = shop.web.get("place", customer="Barbara", seconds=60)
    order, run = placed["order"], placed["run"]
    eventually(lambda: shop.ledger("pack", order=order), within=30, explain=lambda: shop.told(run))
    worker.kill_all()
    worker.start().wait_ready()
    assert shop.ended(run, within=30) == "succeeded"
    done = [(each["what"], each.get("attempt", each.get("retries"))) for each in shop.ledger_of(order)]
    assert done == [("receipt", 0), ("receipt", 1), ("charge", 1), ("charge", 2), ("pack", 1), ("pack", 2), ("ship", None)]
    for what in ("charge", "pack"):
        assert len({each["key"] for each in shop.ledger(what, order=order)}) == 1

    told = json.loads(shop.wfcelery("runs", "show", run, "--json"))
    assert told["status"] == "succeeded"
    assert shop.web.get("result", run=run) == {"result": "charged Barbara, receipt for Barbara"}
    assert {step["name"]: step["attempt"] for step in told["steps"]} == {"send_receipt": 2, "sleep": 0, "charge": 2, "pack": 2, "ship": 1}
    charge = next(step for step in told["steps"] if step["name"] == "charge")
    assert [(attempt["number"], attempt["outcome"]) for attempt in charge["attempts"]] == [(1, "failed"), (2, "succeeded")]
    assert all(attempt["started"] < attempt["ended"] and attempt["worker"] for attempt in charge["attempts"])
    assert run in shop.wfcelery("runs", "list", "--status", "succeeded")
    story = shop.told(run)
    assert "ConnectionError: the bank does not answer" in story
    assert shop.wfcelery("runs", "verify", run) == "1 runs verified, 0 with problems\n"


def test_the_other_tasks_of_the_app_run_as_before(shop: Team, worker: Process) -> None:
    counted = shop.script("""
import django
django.setup()
from proj.celery import app
from shop.tasks import count_orders, ping
print(count_orders.delay().get(timeout=20))
print([each.get(timeout=20) for each in [ping.delay(number) for number in range(5)]])
""")
    (orders,) = shop.fleet.query("select count(*) from shop_order")
    assert counted.splitlines() == [str(orders[0]), "[0, 1, 2, 3, 4]"]
    pings = shop.ledger("ping")
    assert pings[-1]["at"] - pings[0]["at"] > 0.8, "four a second, as the task's own rate limit says"


@dataclass
class Flower:
    """Flower as it is, and the ordinary tasks that were sent to see whether it listens."""

    port: int
    ordinary: set[str] = field(default_factory=set)

    def listed(self) -> dict[str, dict[str, object]]:
        """What its API lists, by the tasks' ids."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/tasks", timeout=10) as answer:
            listed: dict[str, dict[str, object]] = json.load(answer)
        return listed

    def steps(self) -> Counter[tuple[object, object]]:
        """Names and states of all that is none of the ordinary tasks."""
        return Counter((task["name"], task["state"]) for id_, task in self.listed().items() if id_ not in self.ordinary)


@pytest.fixture
def flower(shop: Team, worker: Process) -> Iterator[Flower]:
    shop.all_ended()
    port = free_port()
    environment = {"FLOWER_UNAUTHENTICATED_API": "true"}
    flower = shop.fleet.celery("flower", "flower", f"--port={port}", "--address=127.0.0.1", ready="Visit me at", environment=environment)
    flower.wait_ready()
    heard = Flower(port)
    with Celery("sender", broker=shop.fleet.broker_url, set_as_current=False) as sender:

        def hears() -> bool:
            heard.ordinary.add(sender.send_task("shop.tasks.count_orders").id)
            return bool(heard.listed())

        eventually(hears, every=0.3, what="Flower hears of an ordinary task")
    yield heard
    flower.kill_all()


@pytest.mark.promise("B17")
def test_flower_lists_every_step_under_its_tasks_name_and_no_payload(shop: Team, worker: Process, flower: Flower) -> None:
    run = shop.web.get("place", customer="Hedy")["run"]
    assert shop.ended(run) == "succeeded"

    expected = {
        ("shop.tasks.send_receipt", "RETRY"): 1,
        ("shop.tasks.send_receipt", "SUCCESS"): 1,
        ("shop.workflows.charge", "RETRY"): 1,
        ("shop.workflows.charge", "SUCCESS"): 1,
        ("shop.workflows.pack", "SUCCESS"): 1,
        ("shop.workflows.ship", "SUCCESS"): 1,
    }
    eventually(lambda: flower.steps() == expected, what="six attempts of four steps", explain=lambda: str(flower.steps()))
    assert "Hedy" not in json.dumps(flower.listed())


def test_without_a_broker_the_view_answers_soon_and_the_run_is_carried_out_when_it_is_back(
    shop: Team, worker: Process, redis_server: Valkey
) -> None:
    redis_server.stop()
    began = time.monotonic()
    placed = shop.web.get("place", customer="Alan")
    took = time.monotonic() - began
    assert took < 2
    assert shop.runs_for("Alan") == [placed["run"]]
    redis_server.start()
    assert shop.ended(placed["run"], within=40) == "succeeded"


def test_a_step_finds_a_usable_connection_after_the_database_has_closed_those_of_the_workers(shop: Team, worker: Process) -> None:
    for _ in range(2):
        assert shop.ended(shop.web.get("book", trouble="none")["run"]) == "succeeded"
    idle = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    shop.fleet.query(idle)
    placed = shop.web.get("place", customer="Joan")
    assert shop.ended(placed["run"]) == "succeeded"
    assert [receipt["retries"] for receipt in shop.ledger("receipt", order=placed["order"])] == [0, 1]


# ---- transactional steps -------------------------------------------------------------------------------------------------


def bookings(shop: Team, order: int) -> list[int]:
    return [row[0] for row in shop.fleet.query("select attempt from shop_booking where order_id = :order", order=order)]


TROUBLES = {  # the status of the run, and the attempts that left a booking
    "none": ("succeeded", [1]),
    "error": ("succeeded", [2]),
    "crash": ("succeeded", [2]),
    "lost connection": ("succeeded", [2]),
    "hook": ("succeeded", [1]),
    "refusal": ("failed", []),
}


def test_a_transactional_steps_rows_and_its_result_are_one_commit_on_djangos_connection(shop: Team, worker: Process) -> None:
    placed = {trouble: shop.web.get("book", trouble=trouble) for trouble in TROUBLES}
    found = {trouble: (shop.ended(each["run"]), bookings(shop, each["order"])) for trouble, each in placed.items()}
    assert found == TROUBLES
    first = min(each["order"] for each in placed.values())
    paid = {row[0] for row in shop.fleet.query("select id from shop_order where paid and id >= :first", first=first)}
    assert paid == {each["order"] for trouble, each in placed.items() if trouble != "refusal"}
    crashed = placed["crash"]
    kept = shop.fleet.query("select id from shop_booking where order_id = :order", order=crashed["order"])
    assert shop.web.get("result", run=crashed["run"]) == {"result": kept[0][0]}
