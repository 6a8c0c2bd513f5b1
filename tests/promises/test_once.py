"""The idempotency registry, as callers in one moment see it; and calls that no longer fit the code."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Process
from tests.cli.command_line import Cli
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


ANSWER = "from wfcelery import once\nprint(once('call-harbour', answer, 'harbour', {flag!r}, wait='60s'))"
ASK = """
from wfcelery import InProgress, once
try:
    said = once('call-{shop}', answer, '{shop}', {flag!r}, wait='0.1s')
except InProgress as problem:
    said = type(problem).__name__
said
"""


@pytest.mark.promise("D5")
def test_of_processes_in_one_moment_one_runs_it_and_the_others_wait_or_are_told(here: Here, tmp_path: Path) -> None:
    """Nobody can answer before the flag is up, so all three ask while it is being answered, or are the one who answers."""
    flag = tmp_path / "flag"
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(here.script, ANSWER.format(flag=str(flag))) for _ in range(2)]
        eventually(lambda: [effect for effect in here.effects.all("answer") if effect.note == "harbour"])
        assert here.shell(ASK.format(shop="harbour", flag=str(flag))) == "InProgress"
        flag.touch()
        answers = [asked.result(60).strip() for asked in waiting]
    later = here.shell(ASK.format(shop="harbour", flag=str(flag)))
    assert [*answers, later] == [later] * 3, "byte for byte, also for who comes later"
    assert len([effect for effect in here.effects.all("answer") if effect.note == "harbour"]) == 1


@pytest.mark.long
@pytest.mark.promise("D5")
def test_the_next_attempt_of_a_step_that_died_in_it_takes_the_key_over(alone: Here, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    alone.ready(alone.database_worker(concurrency=1))
    run = alone.start(f"answered_once.bind('market', {str(flag)!r})")
    (first,) = eventually(lambda: alone.effects.all("answer"))
    assert alone.shell(ASK.format(shop="market", flag=str(flag))) == "InProgress"
    os.kill(first.pid, signal.SIGKILL)
    second = eventually(lambda: [effect for effect in alone.effects.all("answer") if effect.attempt == 2])[0]
    assert (second.key, second.pid != first.pid) == (first.key, True)
    flag.touch()
    result = alone.result(run)
    assert str(second.pid) in result, "what is kept is what the living attempt said"
    assert alone.shell(ASK.format(shop="market", flag=str(flag))) == result
    assert alone.effects.attempts("answer") == [1, 2]
    assert alone.faults() == {}


@pytest.mark.long
@pytest.mark.promise("C19")
def test_a_run_of_one_release_is_parked_by_the_next_and_finished_by_its_own(here: Here) -> None:
    """Release 2 of the app gave `bill` one more argument: it bills what it starts itself, and leaves the older run alone."""
    environment = {"WFCELERY_BELL": "database", "WFCELERY_PARK_PAUSE": "0.5"}
    quiet = ("--without-mingle", "--without-gossip", "--without-heartbeat")

    def release(number: str) -> Process:
        wishes = {**environment, "WFCELERY_TEST_RELEASE": number}
        name = f"release-{number}"
        return here.worker(name, pool="threads", queues="billing", options=quiet, environment=wishes).wait_ready()

    old = here.start("billing.bind(5)")
    begin = "from wfcelery import start_workflow\nprint(start_workflow(billing.bind(7)).id)"
    newer = release("2")
    new = here.script(begin, environment={"WFCELERY_TEST_RELEASE": "2"}).split()[-1]
    parked = eventually(lambda: here.facts(old, "step_parked"))
    assert "do not fit tests.promises.app.bill" in parked[0]["reason"]
    assert here.result(new) == "7 EUR"
    cli = Cli(here.database_url)
    shown = {run: cli.json("runs", "show", run)[0] for run in (old, new)}
    assert [shown[run]["version_label"] for run in (old, new)] == ["1", "2"]
    assert shown[old]["definition"] != shown[new]["definition"]
    (waiting,) = shown[old]["steps"]
    assert (waiting["status"], waiting["failures"], waiting["lost"]) == ("ready", 0, 0)
    assert cli.json("dead", "list", "--workflow", "billing") == []
    newer.stop()
    older = release("1")
    assert here.result(old) == "5"
    assert cli.json("runs", "show", old)[0]["definition"] == shown[old]["definition"]
    older.stop()


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
