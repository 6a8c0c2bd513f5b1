"""Runs as those see them who start, read, cancel and verify them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import redis

from tests.acceptance.eventually import eventually
from tests.acceptance.monitor import Monitor
from tests.acceptance.processes import Fleet
from tests.acceptance.shell import ShellError

SHORT = {"WFCELERY_POLL": "0.3", "WFCELERY_LEASE": "3", "WFCELERY_PARK_PAUSE": "0.3", "WFCELERY_BATCH": "10"}
PUBLISH = "from wfcelery.service import publishing\nfrom wfcelery.service.context import current\n"
NOW = "from datetime import UTC, date, datetime, timedelta\nfrom decimal import Decimal\nfrom uuid import UUID\n"


@pytest.fixture(scope="module")
def here(make_shared_fleet: Callable[..., Fleet]) -> Fleet:
    fleet = make_shared_fleet(environment=SHORT)
    return fleet.ready(fleet.worker(pool="threads", concurrency=4), fleet.worker("other", pool="threads", queues="other"))


def publish(fleet: Fleet, folder: Path, text: str) -> None:
    file = folder / "definition.yaml"
    file.write_text(dedent(text))
    fleet.shell(f"{PUBLISH}len(publishing.publish(current(), [app_module.Path({str(file)!r})]))")


def by_name(fleet: Fleet, name: str, given: dict[str, Any] | None = None) -> str:
    return str(fleet.shell(f"start_workflow({name!r}, {given or {}!r}).id"))


# ---- starting -------------------------------------------------------------------------------------------------------------


@pytest.mark.promise("D9")
def test_a_start_with_a_wrong_input_names_the_field_and_stores_nothing(here: Fleet) -> None:
    before = here.query("select count(*) from wf_run")
    with pytest.raises(ShellError, match=r"InvalidInput.*numbers"):
        here.shell("start_workflow('sum_of_squares', {'numbers': 'many'}).id")
    with pytest.raises(ShellError, match=r"InvalidInput.*word"):
        here.shell("start_workflow(chain.bind(word=7)).id")
    assert here.query("select count(*) from wf_run") == before


@pytest.mark.promise("A17")
def test_a_key_is_unique_in_one_organization_and_a_run_says_whose_it_is(here: Fleet) -> None:
    start = "start_workflow(chain.bind('a'), key='order-1', tags=['blue'], organization_id={!r}).id"
    ours, again, theirs = (here.shell(start.format(name)) for name in ("acme", "acme", "globex"))
    assert ours == again != theirs
    with pytest.raises(ShellError, match="KeyConflict"):
        here.shell("start_workflow(chain.bind('b'), key='order-1', organization_id='acme').id")
    for run in (ours, theirs):
        assert here.result(run) == "a-1-2-3"
    told = "select organization_id, workflow, key, input, tags, status, ended_at >= started_at from wf_run where id = cast(:run as uuid)"
    assert here.query(told, run=theirs) == [("globex", "chain", "order-1", '{"word":"a"}', '["blue"]', "succeeded", True)]
    strangers = "select count(*) from wf_step where run = cast(:run as uuid) and organization_id <> 'acme'"
    assert here.query(strangers, run=ours) == [(0,)]


@pytest.mark.promise("B8")
def test_an_archived_definition_does_not_start(here: Fleet, tmp_path: Path) -> None:
    publish(here, tmp_path, "name: retired\ntasks:\n  - {name: only, action: tests.acceptance.app.mark, input: {name: x}}\n")
    assert here.ended(by_name(here, "retired")) == "succeeded"
    here.query("update wf_definition set status = 'archived' where name = 'retired'")
    with pytest.raises(ShellError, match="NotFound"):
        by_name(here, "retired")


@pytest.mark.promise("E5")
def test_a_run_goes_to_its_end_on_the_graph_it_began_with(here: Fleet, tmp_path: Path) -> None:
    text = """
        name: greeting
        tasks:
          - {{name: rest, type: sleep, duration: 1.5s}}
          - {{name: say, action: tests.acceptance.app.mark, after: [rest], input: {{name: {word}}}}}
        output: "{{{{ task.say.result }}}}"
    """
    publish(here, tmp_path, text.format(word="hello"))
    old = by_name(here, "greeting")
    publish(here, tmp_path, text.format(word="good evening"))
    new = by_name(here, "greeting")
    assert (here.result(old), here.result(new)) == ("hello", "good evening")


# ---- what they carry ------------------------------------------------------------------------------------------------------


@pytest.mark.promise("E11")
def test_whatever_a_step_is_given_comes_back_equal(here: Fleet) -> None:
    here.shell(
        f"{NOW}value = {{'at': datetime(2026, 3, 4, 5, 6, tzinfo=UTC), 'day': date(2026, 3, 4), 'price': Decimal('9.50'), "
        "'raw': bytes(range(256)), 'id': UUID(int=7), 'text': 'caf\\u00e9 \\U0001f600', "
        "'nested': [{'deep': [None, True, 1.5, -3]}], '$wf': ['looks', 'like ours']}\n"
        "carried = start_workflow(echoed.bind(value))\ncarried.id"
    )
    assert here.shell("(carried.result(timeout=20) == value, repr(carried.result()))")[0] is True


@pytest.mark.promise("E8")
def test_templates_in_nested_objects_and_lists_are_rendered(here: Fleet, tmp_path: Path) -> None:
    publish(
        here,
        tmp_path,
        """
        name: nested
        parameters: {order: {type: object, required: true}}
        tasks:
          - {name: one, action: tests.acceptance.app.echo, input: {value: "{{ parameters.order.lines }}"}}
          - name: two
            action: tests.acceptance.app.echo
            after: [one]
            input:
              value:
                - {first: "{{ task.one.result[0].sku }}", all: ["{{ task.one.result }}", "no {{ parameters.order.id }}"]}
                - "{{ parameters.order.id }}"
        output: "{{ task.two.result }}"
        """,
    )
    run = by_name(here, "nested", {"order": {"id": 7, "lines": [{"sku": "x1"}]}})
    assert here.result(run) == [{"first": "x1", "all": [[{"sku": "x1"}], "no 7"]}, 7]


@pytest.mark.promise("E17")
def test_an_expression_over_the_error_says_whether_to_try_again(here: Fleet) -> None:
    assert here.result(here.start("picked.bind('503')")) == 2
    for kind in ("404", "forbidden"):
        assert here.ended(here.start(f"picked.bind('{kind}')")) == "failed"
    assert here.query("select attempt from wf_step where name = 'picky' order by attempt") == [(1,), (1,), (2,)]


# ---- graphs ---------------------------------------------------------------------------------------------------------------


@pytest.mark.promise("D12")
def test_in_a_graph_of_a_thousand_tasks_each_starts_after_what_it_waits_for(here: Fleet, tmp_path: Path) -> None:
    tasks, needs = [], {}
    for number in range(1000):
        layer, place = divmod(number, 100)
        needs[number] = sorted({(layer - 1) * 100 + (place * step + 7) % 100 for step in (1, 3, 11)}) if layer else []
        after = f", after: [{', '.join(f't{need}' for need in needs[number])}]" if layer else ""
        tasks.append(f"  - {{name: t{number}, action: tests.acceptance.app.mark, input: {{name: t{number}}}{after}}}")
    publish(here, tmp_path, "name: thousand\ntasks:\n" + "\n".join(tasks) + "\n")
    run = by_name(here, "thousand")
    assert here.ended(run, within=100) == "succeeded"
    order = [effect.note for effect in here.effects.all("mark") if effect.note.startswith("t")]
    assert len(order) == len(set(order)) == 1000
    place_of = {name: place for place, name in enumerate(order)}
    assert [number for number in needs for need in needs[number] if place_of[f"t{need}"] > place_of[f"t{number}"]] == []
    assert here.query("select count(*) from wf_step where run = cast(:run as uuid)", run=run) == [(1000,)]


def test_the_tasks_of_a_parallel_block_run_at_the_same_time(here: Fleet, tmp_path: Path) -> None:
    publish(
        here,
        tmp_path,
        """
        name: side_by_side
        tasks:
          - name: both
            type: parallel
            tasks:
              - {name: left, action: tests.acceptance.app.meet, input: {many: 2}}
              - {name: right, action: tests.acceptance.app.meet, input: {many: 2}}
          - {name: then, action: tests.acceptance.app.mark, after: [both], input: {name: then}}
        output: "{{ task.both.result }}"
        """,
    )
    run = by_name(here, "side_by_side")
    assert here.result(run) == {"left": 2, "right": 2}, "each ends when the other is there"
    assert [effect.step for effect in here.effects.all() if effect.step == "meet" or effect.note == "then"] == ["meet", "meet", "mark"]


# ---- time -----------------------------------------------------------------------------------------------------------------


@pytest.mark.promise("A9")
def test_timers_that_fall_due_together_are_drained_in_seconds_and_not_a_batch_a_sweep(here: Fleet) -> None:
    here.shell(f"{NOW}[start_workflow(alarm.bind(datetime(2099, 1, 1, tzinfo=UTC))).id for _ in range(300)]")
    eventually(lambda: here.query("select count(*) from wf_wait where status = 'open'") == [(300,)], within=60)
    here.query("update wf_wait set due_at = clock_timestamp() where status = 'open'")  # it is 2099
    eventually(lambda: here.query("select count(*) from wf_run where workflow = 'alarm' and status = 'succeeded'") == [(300,)], within=60)
    found = [int(many) for process in here.processes for many in re.findall(r"sweep: Pass\(.*waits=(\d+)", process.said())]
    assert max(found) > 100, "ten at each sweep"


@pytest.mark.promise("C13", "C28", "D7")
def test_a_history_tells_from_the_first_commit_to_the_last_why_each_thing_happened(here: Fleet) -> None:
    run = here.start("nap.bind('a')")
    assert here.result(run) == "a-1-2"
    facts = [(fact["fact"], fact.get("step")) for fact in here.facts(run)]
    assert facts == [
        ("run_begun", None),
        ("step_ready", "first"),
        ("step_succeeded", "first"),
        ("wait_opened", "sleep"),
        ("step_blocked", "second"),
        ("wait_came", "sleep"),
        ("step_ready", "second"),
        ("step_succeeded", "second"),
        ("run_succeeded", None),
    ]
    versions = here.shell(f"[entry.version for entry in get_run({run!r}).history()]")
    assert versions == list(range(1, len(versions) + 1))
    assert here.query("select kind, status, ended_at >= due_at from wf_wait where run = cast(:run as uuid)", run=run) == [
        ("sleep", "due", True)
    ]


@pytest.mark.promise("C21")
def test_a_run_that_cannot_be_moved_on_holds_up_no_other_and_is_put_aside(fleet: Fleet) -> None:
    fleet.ready(fleet.worker(pool="threads", environment=SHORT))
    broken, well = fleet.start("nap.bind('a')"), fleet.start("nap.bind('b')")
    eventually(lambda: fleet.query("select count(*) from wf_wait") == [(2,)])
    fleet.query("update wf_run set open_waits = 0 where id = cast(:run as uuid)", run=broken)

    assert fleet.result(well) == "b-1-2"
    assert fleet.result(fleet.start("nap.bind('c')")) == "c-1-2"
    aside = "select run::text, reason, status from wf_dead_letter"
    eventually(lambda: fleet.query(aside) == [(broken, "quarantined", "open")], within=40)
    assert fleet.status(broken) == "waiting"
    assert list(fleet.faults()) == [broken]


@pytest.mark.promise("A7", "C31")
def test_a_run_past_its_deadline_is_ended(here: Fleet) -> None:
    run = here.start("one_watchful.bind(60)", "deadline='1s'")
    assert here.ended(run) == "timed_out"
    with pytest.raises(ShellError, match="RunTimedOut"):
        here.result(run)
    assert [fact["reason"] for fact in here.facts(run, "run_ending")] == ["deadline"]


@pytest.mark.promise("C30")
def test_a_worker_whose_clock_is_an_hour_ahead_changes_nothing(fleet: Fleet) -> None:
    ahead = fleet.worker(pool="solo", environment={**SHORT, "WFCELERY_TEST_CLOCK": "3600"})
    fleet.ready(ahead)
    run = fleet.start("nap.bind('a')")
    assert fleet.result(run) == "a-1-2"
    ((slept, early),) = fleet.query("select extract(epoch from due_at - opened_at), ended_at < due_at from wf_wait")
    assert (float(slept), early) == (pytest.approx(2, abs=0.5), False)
    assert fleet.result(fleet.start("retried.bind(1)")) == 2
    assert fleet.facts(run, "step_lost") == []
    assert fleet.faults() == {}


# ---- cancels, messages, old code ------------------------------------------------------------------------------------------


@pytest.mark.promise("C24", "C10")
def test_many_cancels_of_running_runs_do_not_hold_up_that_of_a_waiting_one(here: Fleet) -> None:
    running = here.shell("[start_workflow(watched_elsewhere.bind(60)).id for _ in range(200)]")
    waiting = here.shell(f"{NOW}start_workflow(alarm.bind(datetime(2099, 1, 1, tzinfo=UTC))).id")
    eventually(lambda: here.query("select count(*) from wf_run where workflow = 'watched_elsewhere' and status = 'running'") == [(200,)])
    eventually(lambda: here.status(waiting) == "waiting")
    here.shell(f"[get_run(run).cancel('enough') for run in {running!r}]")
    asked = time.monotonic()
    here.shell(f"get_run({waiting!r}).cancel()")
    assert here.ended(waiting) == "cancelled"
    assert time.monotonic() - asked < 10, "a running one that nobody asks takes its grace of 30 s"
    ended = "select count(*) from wf_run where workflow = 'watched_elsewhere' and status = 'cancelled' and reason = 'enough'"
    eventually(lambda: here.query(ended) == [(200,)])


@pytest.mark.promise("D4", "C17")
def test_messages_that_are_delivered_again_advance_nothing_twice(here: Fleet) -> None:
    monitor = Monitor(here.broker_url)
    runs = [here.start("chain.bind('a')"), here.start("over_two_queues.bind('b')"), here.start("sum_of_squares.bind(list(range(50)))")]
    with redis.Redis.from_url(here.broker_url) as client:
        for _ in range(4):
            for message in monitor.messages()[:200]:
                client.lpush(message.queue, message.raw)
    assert [here.result(run) for run in runs] == ["a-1-2-3", "b-1-2-3", 40425]
    mine = [effect for effect in here.effects.all() if effect.step in ("first", "second", "third", "square", "total")]
    assert len(mine) == len({effect.key for effect in mine})
    for run in runs:
        assert len(here.facts(run, "run_succeeded")) == 1
    monitor.close()


@pytest.mark.promise("C19")
def test_a_worker_that_lacks_a_step_parks_it_and_a_newer_one_goes_on(here: Fleet, tmp_path: Path) -> None:
    publish(
        here,
        tmp_path,
        """
        name: newer
        tasks:
          - {name: begin, action: tests.acceptance.app.mark, input: {name: begin}}
          - {name: more, action: tests.acceptance.app.newcomer, after: [begin], queue: other, input: {word: "{{ task.begin.result }}"}}
        output: "{{ task.more.result }}"
        """,
    )
    run = by_name(here, "newer")
    parked = eventually(lambda: here.facts(run, "step_parked"))
    assert "knows no step tests.acceptance.app.newcomer" in parked[0]["reason"]
    assert here.status(run) == "running"
    here.worker("newer", pool="threads", queues="other", environment={"WFCELERY_TEST_NEWER": "1"}).wait_ready()
    assert here.result(run) == "new begin"
    assert here.query("select failures, lost from wf_step where run = cast(:run as uuid) and name = 'more'", run=run) == [(0, 0)]


# ---- reading --------------------------------------------------------------------------------------------------------------


@pytest.mark.promise("E21", "E19")
def test_a_run_tells_how_many_of_its_steps_are_in_which_state_and_which(here: Fleet) -> None:
    run = here.start("too_slow_and_handled.bind(1.5)")
    here.ended(run)
    shown = json.loads(here.run("runs", "show", run, "--json"))
    assert shown["counts"] == {"succeeded": 1, "timed_out": 1}
    assert {step["name"]: step["status"] for step in shown["steps"]} == {"too_slow": "timed_out", "apologise": "succeeded"}
    (slow,) = [step for step in shown["steps"] if step["name"] == "too_slow"]
    assert [(attempt["number"], attempt["outcome"]) for attempt in slow["attempts"]] == [(1, "timed_out"), (2, "timed_out")]
    assert all(attempt["worker"] and attempt["started"] <= attempt["ended"] for attempt in slow["attempts"])


@pytest.mark.promise("C20")
def test_a_sweep_logs_what_it_found_and_nothing_of_the_application(here: Fleet) -> None:
    run = here.start("nap.bind('canary-51')")
    assert here.result(run) == "canary-51-1-2"
    worker = here.processes[0]
    eventually(lambda: any(run in process.said() for process in here.processes[:2]), what="a sweep names the run whose timer it found")
    worker.wait_says("sweep: Pass(")
    assert all("canary-51" not in process.said() for process in here.processes)


@pytest.mark.promise("D1", "A2")
def test_the_history_of_every_run_folds_to_its_state_and_a_changed_row_is_told(here: Fleet) -> None:
    told = here.run("runs", "verify", "--all")
    assert told.endswith(" runs verified, 0 with problems\n")
    run = here.start("chain.bind('a')")
    assert here.result(run) == "a-1-2-3"
    here.query("update wf_step set output = '\"other\"' where run = cast(:run as uuid) and name = 'second'", run=run)
    assert "its result is not the one of its history" in here.run("runs", "verify", run, code=None)
    here.query("update wf_step set output = '\"a-1-2\"' where run = cast(:run as uuid) and name = 'second'", run=run)
    assert here.faults() == {}
