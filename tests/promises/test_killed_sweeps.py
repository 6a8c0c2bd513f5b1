"""SIGKILL of the process that sweeps, in the middle of many timers: each has fired with what it makes ready, or is still open."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Process
from tests.promises.conftest import APP, QUICK, Here

TIMERS = 150

# Each timer that fires takes some twenty milliseconds longer, so that a kill finds the burst under way.
SLOW = {
    "sqlite": [
        "create trigger slowly before update on wf_wait when new.status = 'due' begin "
        f"select count(*) from (select 1 from wf_run a, wf_run b, wf_wait c limit {TIMERS * 5_000}); end"
    ],
    "postgresql": [
        "create function slowly() returns trigger language plpgsql as 'begin perform pg_sleep(0.02); return new; end'",
        "create trigger slowly before update on wf_wait for each row execute function slowly()",
    ],
}
FIRED = "select count(*) from wf_wait where status = 'due'"
TORN = """
select count(*) from wf_wait where (status = 'due') <>
  exists (select 1 from wf_step where wf_step.run = wf_wait.run and name = 'double' and status = 'ready')
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def bursting(request: pytest.FixtureRequest, make_fleet: Callable[..., Here]) -> Here:
    """Tables whose timers fire slowly, and no process."""
    url = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    made = make_fleet(kind=Here, app=APP, database_url=url, broker_url="wfmem://localhost//", environment=QUICK)
    made.upgrade()
    for statement in SLOW[request.param]:
        made.query(statement)
    return made


def sweeper(fleet: Here, name: str) -> Process:
    """A worker that begins runs and sweeps, and that no step's queue leads to."""
    quiet = ("--without-mingle", "--without-gossip", "--without-heartbeat")
    bell = {"WFCELERY_BELL": "database", "WFCELERY_DISPATCH_QUEUE": "elsewhere"}
    return fleet.worker(name, pool="threads", queues="elsewhere", options=quiet, environment=bell).wait_ready()


@pytest.mark.long
@pytest.mark.promise("C16")
def test_a_sweep_that_is_killed_among_many_timers_leaves_each_of_them_whole(bursting: Here) -> None:
    runs = bursting.shell(f"[start_workflow(napping.bind('90d')).id for _ in range({TIMERS})]")
    first = sweeper(bursting, "first")
    eventually(lambda: bursting.query("select count(*) from wf_wait where status = 'open'") == [(TIMERS,)])
    bursting.query("update wf_wait set due_at = opened_at")
    eventually(lambda: bursting.query(FIRED)[0][0] > 10, every=0.01)
    first.kill_all()
    ((fired,),) = bursting.query(FIRED)
    assert fired < TIMERS, "the kill came among them"
    assert bursting.query(TORN) == [(0,)]

    second = sweeper(bursting, "second")
    eventually(lambda: bursting.query(FIRED)[0][0] > fired, every=0.01)
    second.kill_all()
    assert bursting.query(TORN) == [(0,)]

    bursting.late_worker()
    assert [bursting.result(run) for run in runs] == [2] * TIMERS
    assert len(bursting.effects.all("double")) == len(bursting.effects.keys("double")) == TIMERS
    came = "select count(*) from wf_history where facts like '%\"wait_came\"%'"
    assert bursting.query(came) == [(TIMERS,)], "each timer has fired once"
    assert bursting.faults() == {}
