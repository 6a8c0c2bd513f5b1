"""What an operator is told of a fleet of real processes: who is alive, which queue nobody serves, and that nobody sweeps."""

from __future__ import annotations

import json
from importlib.metadata import version

import pytest

from tests.acceptance.eventually import eventually
from tests.acceptance.monitor import Monitor
from tests.acceptance.processes import Fleet
from tests.cli.command_line import Cli
from tests.promises.conftest import APP, Here

QUIET = ("--without-mingle", "--without-gossip", "--without-heartbeat")
BELL = {"WFCELERY_BELL": "database"}


def errors(fleet: Here, code: int) -> set[str]:
    """What `wfcelery doctor -A APP` finds wrong, and the exit code it must have."""
    lines = fleet.run("doctor", "-A", APP, "--json", code=code).splitlines()
    return {finding["what"] for finding in map(json.loads, lines) if finding["level"] == "error"}


def listed(cli: Cli) -> dict[str, bool]:
    """Each worker that has a row, and whether it is alive."""
    return {worker["name"].partition("@")[0]: worker["alive"] for worker in cli.json("workers", "list")}


@pytest.mark.promise("B3", "D19", "A12")
def test_doctor_and_the_list_of_workers_follow_real_workers_that_come_and_die(alone: Here) -> None:
    cli = Cli(alone.database_url)
    near = alone.worker("near", pool="threads", queues="celery,billing", options=QUIET, environment=BELL).wait_ready()
    served = eventually(lambda: [row for row in cli.json("workers", "list") if row["alive"]])
    assert [(row["name"].partition("@")[0], row["build"]) for row in served] == [("near", version("wfcelery"))]
    assert served[0]["queues"] == ["billing", "celery"]
    eventually(lambda: cli.json("workers", "list")[0]["lease_until"] > served[0]["lease_until"], what="it renews its lease")
    unserved = {
        f"no worker serves queue by-route, named by step {APP}.routed",
        f"no worker serves queue papers, named by step {APP}.described",
    }
    eventually(lambda: errors(alone, code=1) == unserved, ignoring=(AssertionError,))
    far = alone.worker("far", pool="threads", queues="by-route,papers", options=QUIET, environment=BELL).wait_ready()
    eventually(lambda: listed(cli) == {"near": True, "far": True})
    eventually(lambda: errors(alone, code=0) == set(), ignoring=(AssertionError,))

    assert far.stop() == 0
    assert list(listed(cli)) == ["near"], "who ends in peace says so"
    near.kill_all()
    eventually(lambda: listed(cli) == {"near": False}, what="its lease is over, and its row tells")
    assert cli.lines("workers", "list")[1].split("\t")[1] == "lost"
    alone.query("update wf_meta set swept_at = swept_at - 60")
    found = {finding["what"]: finding["remedy"] for finding in cli.json("doctor", code=1) if finding["level"] == "error"}
    assert "no worker is alive" in found
    (late,) = [what for what in found if what.startswith("nobody has swept for")]
    assert "timers, retries and lost workers wait" in late
    assert "celery -A APP beat" in str(found[late])


@pytest.mark.long
@pytest.mark.promise("A12")
def test_a_stock_beat_asks_for_a_sweep_several_times_a_second(fleet: Fleet) -> None:
    """No minute is in its way, and each message expires when the next one comes."""
    fleet.app = APP
    monitor = Monitor(fleet.broker_url)
    fleet.beat(environment={"WFCELERY_POLL": "0.25"})
    sweeps = eventually(lambda: [sent for sent in monitor.messages(sweeps=True) if sent.task == "wfcelery.sweep"][3:4])
    monitor.close()
    assert json.loads(sweeps[0].raw)["headers"]["expires"]
