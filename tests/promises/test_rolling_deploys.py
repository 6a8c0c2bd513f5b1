"""Two workers of one queue, of which one lacks a step: it hands the step back and says so, and the other has it soon."""

from __future__ import annotations

from collections.abc import Callable

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet
from tests.promises.conftest import APP, QUICK, Here

FLOW = """
name: rolling
parameters: {word: {type: string, required: true}}
tasks:
  - {name: first, action: $app.double, input: {number: 1}}
  - {name: then, action: $app.newcomer, after: [first], input: {word: "{{ parameters.word }}"}}
output: "{{ task.then.result }}"
"""
QUIET = ("--without-mingle", "--without-gossip", "--without-heartbeat")
BELL = {"WFCELERY_BELL": "database", "WFCELERY_PARK_PAUSE": "60"}


def test_a_step_goes_to_the_worker_that_has_it(make_fleet: Callable[..., Fleet], sqlite_url: str) -> None:
    here = make_fleet(kind=Here, app=APP, database_url=sqlite_url, broker_url="wfmem://localhost//", environment=QUICK)
    assert isinstance(here, Here)
    here.upgrade()
    here.publish(FLOW)
    here.worker("old", pool="threads", options=QUIET, environment=BELL).wait_ready()
    alone = here.named("rolling", {"word": "alone"})
    eventually(lambda: here.facts(alone, "step_parked"), what="nobody has it")
    (told,) = here.facts(alone, "step_parked")
    assert told["reason"] == f"worker {told['reason'].split()[1]} knows no step {APP}.newcomer"
    assert told["reason"].split()[1].startswith("old@")
    assert told["delay"] == 60
    here.worker("new", pool="threads", options=QUIET, environment={**BELL, "WFCELERY_TEST_RELEASE": "2"}).wait_ready()
    runs = {word: here.named("rolling", {"word": word}) for word in ("a", "b", "c", "d")}
    for word, run in runs.items():
        assert here.result(run) == word
        assert all(fact["delay"] < 60 for fact in here.facts(run, "step_parked"))
        assert here.query("select failures, lost from wf_step where run = :run and name = 'then'", run=here.id(run)) == [(0, 0)]
    assert "cannot begin on the code" in here.run("runs", "why", alone)
    here.run("runs", "verify", "--all")
