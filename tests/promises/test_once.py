"""The idempotency registry, as callers in one moment see it; and calls that no longer fit the code."""

from __future__ import annotations

import pytest

from tests.acceptance.eventually import eventually
from tests.promises.conftest import Here

TWO_THREADS = """
import threading, time
from wfcelery import once, InProgress
def ring(shop, seconds):
    effects.record("once", "ring", 1, shop)
    time.sleep(seconds)
    return {"shop": shop, "at": time.time()}
"""


@pytest.mark.promise("D5")
def test_of_callers_in_one_moment_one_runs_it_and_the_others_get_its_result(here: Here) -> None:
    answers = here.shell(
        f"{TWO_THREADS}\nanswers = []\n"
        "threads = [threading.Thread(target=lambda: answers.append(once('k1', ring, 'corner', 0.4))) for _ in range(4)]\n"
        "[thread.start() for thread in threads]\n[thread.join() for thread in threads]\nanswers + [once('k1', ring, 'corner', 0)]"
    )
    assert len(answers) == 5
    assert answers.count(answers[0]) == 5, "byte for byte the first one's"
    assert [effect.note for effect in here.effects.all("ring")].count("corner") == 1


@pytest.mark.promise("D5")
def test_one_who_will_not_wait_is_told_that_it_is_in_progress(here: Here) -> None:
    told = here.shell(
        f"{TWO_THREADS}\nfirst = threading.Thread(target=lambda: once('k2', ring, 'mall', 1.0))\nfirst.start()\ntime.sleep(0.3)\n"
        "try:\n    said = once('k2', ring, 'mall', 0, wait='0.1s')\nexcept InProgress as problem:\n    said = type(problem).__name__\n"
        "first.join()\n[said, once('k2', ring, 'mall', 0)['shop']]"
    )
    assert told == ["InProgress", "mall"]
    assert [effect.note for effect in here.effects.all("ring")].count("mall") == 1


@pytest.mark.promise("C19")
def test_arguments_that_do_not_fit_the_code_park_a_step_and_spend_no_retry(here: Here) -> None:
    """The worker's `double` takes a number; this graph is of another release."""
    here.publish("name: misfit\ntasks:\n  - {name: it, action: $app.double, input: {nmber: 1}}\n")
    run = here.named("misfit")
    parked = eventually(lambda: here.facts(run, "step_parked"))
    assert "do not fit tests.promises.app.double" in parked[0]["reason"]
    assert here.status(run) == "running"
    assert here.query("select failures, lost from wf_step where run = :run", run=here.id(run)) == [(0, 0)]
    signature = here.query("select definition from wf_run where id = :run", run=here.id(run))
    here.publish("name: misfit\ntasks:\n  - {name: it, action: $app.double, input: {number: 1}}\n")
    assert here.query("select definition from wf_run where id = :run", run=here.id(run)) == signature
    assert here.result(here.named("misfit")) is None
    here.shell(f"get_run({run!r}).cancel()")
    assert here.ended(run) == "cancelled"
