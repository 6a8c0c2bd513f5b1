"""A Flask app in one file adopts wfcelery: `init_app(app)`, `session=db.session`, and the processes it had."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.acceptance.adopt.teams import Team, Web, make_flask_project
from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet, Process
from tests.servers.valkey import Valkey

SERVE = ("-m", "flask", "--app", "storefront", "run", "--port", "{port}")


@pytest.fixture(scope="module")
def shop(make_fleet: Callable[[str], Fleet]) -> Iterator[Team]:
    """The app, with its tables and its web server; no worker, no beat."""
    fleet = make_fleet("storefront:celery_app")
    make_flask_project(fleet)
    team = Team(fleet, Web(fleet, "web", *SERVE, ready="Running on"))
    team.wfcelery("-A", "storefront:celery_app", "db", "upgrade")
    team.web.process.wait_ready()
    yield team
    fleet.close()


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
    assert shop.orders("Edsger") == ["Edsger kept", "Edsger released"]
    assert shop.runs_for("Edsger") == sorted(filled["runs"])
    assert filled["rung_before_commit"] == 0
    assert shop.messages() == 2


def test_a_broker_that_hangs_holds_a_view_up_for_less_than_two_seconds(shop: Team, redis_server: Valkey, quiet_broker: None) -> None:
    with redis_server.paused():
        began = time.monotonic()
        placed = shop.web.get("place", customer="Alan")
        first = time.monotonic() - began
        shop.web.get("place", customer="Alonzo")
        second = time.monotonic() - began - first
    assert first < 2
    assert second < 0.5, "for a moment nobody rings at all"
    assert shop.runs_for("Alan") == [placed["run"]]


@pytest.fixture
def worker(shop: Team) -> Iterator[Process]:
    worker = shop.fleet.worker().wait_ready()
    yield worker
    worker.kill_all()


@pytest.fixture
def beat(shop: Team) -> Iterator[Process]:
    beat = shop.fleet.beat().wait_ready()
    yield beat
    beat.kill_all()


def test_one_worker_and_one_beat_carry_a_run_through_a_sigkill_in_the_apps_context(shop: Team, worker: Process, beat: Process) -> None:
    placed = shop.web.get("place", customer="Barbara", seconds=60)
    order, run = placed["order"], placed["run"]
    eventually(lambda: shop.ledger("pack", order=order), within=30, explain=lambda: shop.told(run))
    worker.kill_all()
    worker.start().wait_ready()
    assert shop.ended(run, within=30) == "succeeded"
    done = [(each["what"], each.get("attempt", each.get("retries"))) for each in shop.ledger_of(order)]
    assert done == [("receipt", 0), ("receipt", 1), ("charge", 1), ("charge", 2), ("pack", 1), ("pack", 2), ("mark_paid", None)]
    assert shop.web.get("result", run=run) == {"result": "charged Barbara, receipt for Barbara"}
    assert shop.fleet.query("select paid from shop_order where id = :order", order=order) == [(True,)]
    assert shop.wfcelery("-A", "storefront:celery_app", "runs", "verify", run) == "1 runs verified, 0 with problems\n"
    counted = shop.script("import storefront; print(storefront.count_orders.delay().get(timeout=20))")
    assert [(int(counted),)] == shop.fleet.query("select count(*) from shop_order")
