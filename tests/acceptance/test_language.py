"""What definitions say, as runs through a real worker show it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.acceptance.processes import Fleet
from tests.acceptance.shell import ShellError

PUBLISH = "from wfcelery.service import publishing\nfrom wfcelery.service.context import current\n"
APP = "tests.acceptance.app"


@pytest.fixture(scope="module")
def here(make_shared_fleet: Callable[..., Fleet]) -> Fleet:
    fleet = make_shared_fleet(environment={"WFCELERY_POLL": "0.2", "WFCELERY_LEASE": "3"})
    return fleet.ready(fleet.worker(pool="threads", concurrency=4))


def publish(fleet: Fleet, folder: Path, text: str) -> None:
    file = folder / "definition.yaml"
    file.write_text(dedent(text).replace("$app", APP))
    fleet.shell(f"{PUBLISH}len(publishing.publish(current(), [app_module.Path({str(file)!r})]))")


def play(fleet: Fleet, name: str, given: dict[str, Any] | None = None) -> tuple[str, dict[str, str]]:
    """Start a run by name, wait for its end; its id, and the status of each task that has a row."""
    run = str(fleet.shell(f"start_workflow({name!r}, {given or {}!r}).id"))
    fleet.ended(run)
    rows = fleet.query("select name, status from wf_step where run = cast(:run as uuid) and item = -1", run=run)
    return run, dict(rows)


TRUTH = """
    name: truth
    parameters: {how: {type: integer, required: true}}
    tasks:
      - name: it
        action: $app.square_but_not_three
        input: {number: "{{ parameters.how }}"}
        when: "{{ parameters.how != 0 }}"
        on_success: [well]
        on_failure: [badly]
        on_timeout: [late]
        on_complete: [anyhow]
        decision: [{when: "{{ task.it.result > 100 }}", next: large}, {default: small}]
      - {name: well, action: $app.mark, input: {name: well}}
      - {name: badly, action: $app.mark, input: {name: badly}}
      - {name: late, action: $app.mark, input: {name: late}}
      - {name: anyhow, action: $app.mark, input: {name: anyhow}}
      - {name: large, action: $app.mark, input: {name: large}}
      - {name: small, action: $app.mark, input: {name: small}}
"""
OUTCOMES = [
    (2, "succeeded", {"well", "anyhow", "small"}),
    (20, "succeeded", {"well", "anyhow", "large"}),
    (3, "failed", {"badly", "anyhow"}),
    (0, "skipped", {"anyhow"}),
]


@pytest.mark.promise("E2", "E9")
@pytest.mark.parametrize(("how", "end", "reached"), OUTCOMES)
def test_each_outcome_leads_where_its_transitions_say_and_nowhere_else(
    here: Fleet, tmp_path: Path, how: int, end: str, reached: set[str]
) -> None:
    publish(here, tmp_path, TRUTH)
    run, rows = play(here, "truth", {"how": how})
    assert here.status(run) == "succeeded"
    assert rows.pop("it") == end
    assert {name for name, status in rows.items() if status == "succeeded"} == reached
    assert {name for name, status in rows.items() if status == "skipped"} == rows.keys() - reached


@pytest.mark.promise("E2")
def test_a_timeout_leads_to_on_timeout(here: Fleet, tmp_path: Path) -> None:
    publish(
        here,
        tmp_path,
        """
        name: tardy
        tasks:
          - name: it
            action: $app.stubborn
            input: {seconds: 3}
            timeout: 0.4s
            retry: {count: 0}
            on_success: [well]
            on_failure: [badly]
            on_timeout: [late]
          - {name: well, action: $app.mark, input: {name: well}}
          - {name: badly, action: $app.mark, input: {name: badly}}
          - {name: late, action: $app.mark, input: {name: late}}
        """,
    )
    run, rows = play(here, "tardy")
    assert here.status(run) == "succeeded"
    assert rows == {"it": "timed_out", "well": "skipped", "badly": "skipped", "late": "succeeded"}


@pytest.mark.promise("E3")
def test_a_circle_an_unknown_target_and_nothing_to_begin_with_are_refused_before_anything_is_stored(here: Fleet, tmp_path: Path) -> None:
    before = here.query("select count(*) from wf_definition")
    with pytest.raises(ShellError, match="DefinitionProblems"):
        publish(
            here,
            tmp_path,
            """
            name: circle
            tasks:
              - {name: a, action: $app.mark, after: [b], input: {name: a}}
              - {name: b, action: $app.mark, after: [a], input: {name: b}}
            """,
        )
    with pytest.raises(ShellError, match=r"did you mean"):
        publish(here, tmp_path, "name: astray\ntasks:\n  - {name: begin, action: $app.mark, input: {name: x}, on_success: [begim]}\n")
    assert here.query("select count(*) from wf_definition") == before


@pytest.mark.promise("E13")
def test_a_parallel_block_waits_for_all_of_its_tasks_or_for_as_many_as_it_says(here: Fleet, tmp_path: Path) -> None:
    publish(
        here,
        tmp_path,
        """
        name: block
        tasks:
          - name: all
            type: parallel
            tasks:
              - {name: a, action: $app.mark, input: {name: a}}
              - {name: b, action: $app.mark, input: {name: b}}
              - {name: c, action: $app.slow, input: {seconds: 0.5}}
          - name: two
            type: parallel
            join: 2
            tasks:
              - {name: d, action: $app.mark, input: {name: d}}
              - {name: e, action: $app.mark, input: {name: e}}
              - {name: f, action: $app.linger, input: {until: after_two}}
          - {name: after_all, action: $app.echo, needs: [all], input: {value: "{{ task.all.result }}"}}
          - {name: after_two, action: $app.mark, after: [two], input: {name: after_two}}
        output: "{{ task.after_all.result }}"
        """,
    )
    run, rows = play(here, "block")
    assert here.result(run) == {"a": "a", "b": "b", "c": 1}
    assert set(rows.values()) == {"succeeded"}
    closed = {fact["step"]: at for at, fact in enumerate(here.facts(run)) if fact["fact"] == "step_succeeded"}
    ready = {fact["step"]: at for at, fact in enumerate(here.facts(run)) if fact["fact"] == "step_ready"}
    assert ready["after_all"] > max(closed["a"], closed["b"], closed["c"])
    assert ready["after_two"] < closed["f"], "which ends when that has run"


@pytest.mark.promise("E6", "E7", "E10")
def test_every_scope_is_seen_and_the_last_commit_of_a_variable_wins(here: Fleet, tmp_path: Path) -> None:
    publish(
        here,
        tmp_path,
        """
        name: scopes
        version: "7"
        parameters: {n: {type: integer, required: true}, items: {type: array, default: [3, 4]}}
        vars: {label: "n is {{ parameters.n }}", last: none}
        tasks:
          - name: one
            action: $app.echo
            input: {value: {label: "{{ vars.label }}", version: "{{ system.version }}", workflow: "{{ system.workflow }}"}}
            publish: {last: "{{ task.one.result.label }}"}
          - name: each
            action: $app.echo
            needs: [one]
            with_items: "{{ parameters.items }}"
            input: {value: "{{ index }}:{{ item }}"}
          - name: two
            action: $app.echo
            needs: [each]
            when: "{{ parameters.n > 1 and not (parameters.n >= 9) or false }}"
            input: {value: {all: "{{ task.each.results }}", keys: "{{ parameters.items | length }}", seen: "{{ variables.last }}"}}
            publish: {last: two}
          - {name: never, action: $app.mark, after: [one], when: "{{ parameters.n == 0 or vars.label == 'x' }}", input: {name: never}}
          - name: bad
            action: $app.hopeless
            after: [two]
            input: {reason: nothing}
            on_failure: [told]
          - name: told
            action: $app.echo
            after: [never, two]
            input: {value: "{{ task.bad.error.type }} {{ task.never.status }} {{ tasks.two.status }}"}
        output: {one: "{{ task.one.result }}", two: "{{ task.two.result }}", told: "{{ task.told.result }}", last: "{{ workflow.last }}"}
        """,
    )
    run, _ = play(here, "scopes", {"n": 2})
    assert here.result(run) == {
        "one": {"label": "n is 2", "version": "7", "workflow": "scopes"},
        "two": {"all": ["0:3", "1:4"], "keys": 2, "seen": "n is 2"},
        "told": "GiveUp skipped succeeded",
        "last": "two",
    }
    set_by = [fact.get("by") for fact in here.facts(run, "variables_set")]
    assert set_by == [None, "one", "two"]


@pytest.mark.promise("E7")
def test_what_is_undefined_fails_the_step_and_names_the_expression(here: Fleet, tmp_path: Path) -> None:
    publish(
        here,
        tmp_path,
        """
        name: undefined
        tasks:
          - {name: a, action: $app.echo, input: {value: {x: 1}}}
          - {name: b, action: $app.echo, needs: [a], input: {value: "so {{ task.a.result.y }}"}}
        """,
    )
    run, rows = play(here, "undefined")
    assert rows == {"a": "succeeded", "b": "failed"}
    with pytest.raises(ShellError, match=r"task\.a\.result\.y"):
        here.result(run)


BACKOFF = [("constant", [0.2, 0.2, 0.2]), ("linear", [0.2, 0.4, 0.5]), ("exponential", [0.2, 0.4, 0.5])]


@pytest.mark.promise("E16")
@pytest.mark.parametrize(("backoff", "delays"), BACKOFF)
def test_the_time_of_the_next_attempt_is_a_row_by_the_formula(here: Fleet, tmp_path: Path, backoff: str, delays: list[float]) -> None:
    publish(
        here,
        tmp_path,
        f"""
        name: {backoff}
        tasks:
          - name: it
            action: $app.shocked
            input: {{secret: x}}
            retry: {{count: 3, delay: 0.2s, backoff: {backoff}, max_delay: 0.5s, jitter: false}}
        """,
    )
    run, rows = play(here, backoff)
    assert rows == {"it": "failed"}
    assert [fact["delay"] for fact in here.facts(run, "step_retried")] == delays
    times = here.query("select facts, at from wf_history where run = cast(:run as uuid) order by version", run=run)
    ended = [at for facts, at in times if any("attempt" in fact for fact in json.loads(facts))]
    assert all((later - sooner).total_seconds() >= delay for sooner, later, delay in zip(ended, ended[1:], delays, strict=False))


@pytest.mark.promise("B24")
def test_the_row_of_a_run_says_what_it_is_and_its_waits_are_rows(here: Fleet) -> None:
    run = here.start("nap.bind('x')", "key='b24', tags=['t'], deadline='1h'")
    here.ended(run)
    columns = "organization_id, workflow, version > 0, status, input, output, error, key, started_at is not null, ended_at is not null"
    assert here.query(f"select {columns}, deadline > created_at from wf_run where id = cast(:run as uuid)", run=run) == [
        ("default", "nap", True, "succeeded", '{"word":"x"}', '"x-1-2"', None, "b24", True, True, True)
    ]
    waits = "select kind, status, due_at is not null, ended_at >= due_at from wf_wait where run = cast(:run as uuid)"
    assert here.query(waits, run=run) == [("sleep", "due", True, True)]
    assert here.query("select length(definition) from wf_run where id = cast(:run as uuid)", run=run) == [(64,)]
