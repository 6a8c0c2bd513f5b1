"""What a run and a dead letter keep, and that one path of execution writes it, whoever asks."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest

from tests.acceptance.eventually import eventually
from tests.cli.command_line import Cli
from tests.promises.conftest import APP, Here
from tests.store.rows import look, started
from tests.store.test_timers import PowerCut, Quiet, all_due, napping, runtime_on
from wfcelery.authoring.yaml import load_yaml
from wfcelery.definition.model import canonical_json, signature
from wfcelery.engine import executing
from wfcelery.engine.ports import Call, Outcome, Raised
from wfcelery.engine.runtime import Runtime
from wfcelery.engine.sweeping import Sweep
from wfcelery.store import definitions
from wfcelery.store.database import CursorTx, Database


class Hopeless(Quiet):
    """Each step fails for good."""

    def call(self, call: Call) -> Outcome:
        return Raised({"type": "ValueError", "code": None, "message": "no"}, final=True)


def about_to_fail(runtime: Runtime) -> tuple[UUID, UUID]:
    """A run whose next step is ready, and that step."""
    run = napping(runtime)
    all_due(runtime.database)
    Sweep(runtime)()
    ((step,),) = look(runtime.database, "select id from wf_step where run = :run and name = 'say'", run=run)
    return run, step if isinstance(step, UUID) else UUID(step)


def burial(database: Database, run: UUID) -> tuple[bool, ...]:
    """Whether the letter is there, the step has failed, the run has, and the history says so."""
    told = [
        fact["fact"] for (facts,) in look(database, "select facts from wf_history where run = :run", run=run) for fact in json.loads(facts)
    ]
    return (
        look(database, "select count(*) from wf_dead_letter where run = :run", run=run) == [(1,)],
        look(database, "select status from wf_step where run = :run and name = 'say'", run=run) == [("failed",)],
        look(database, "select status from wf_run where id = :run", run=run) == [("failed",)],
        "step_failed" in told and "run_failed" in told,
    )


@pytest.mark.promise("A6")
def test_a_crash_at_any_statement_leaves_a_failed_step_with_its_letter_or_neither(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime, plain = runtime_on(database), CursorTx.execute
    runtime.caller = Hopeless()
    seen = set()
    for fatal in range(1, 40):
        (run, step), count = about_to_fail(runtime), 0

        def cut(self: CursorTx, *given: Any, fatal: int = fatal) -> Any:
            nonlocal count
            count += 1
            if count == fatal:
                raise PowerCut
            return plain(self, *given)

        with monkeypatch.context() as patched:
            patched.setattr(CursorTx, "execute", cut)
            with suppress(PowerCut):
                executing.execute(runtime, "default", step)
        seen.add(burial(database, run))
        if count < fatal:
            break
    assert fatal > 3, "some of them fell into the commit"
    assert seen == {(False,) * 4, (True,) * 4}


FAILS = "name: {name}\ntasks:\n  - {{name: it, action: $app.hopeless, input: {{reason: '{reason}'}}}}\n"


@pytest.mark.promise("A6")
def test_a_letter_leads_to_its_steps_input_and_the_history_says_who_retried_it(here: Here) -> None:
    here.publish(FAILS.format(name="buried", reason="paper ran out"))
    run, cli = here.named("buried"), Cli(here.database_url)
    here.ended(run)
    (letter,) = [found for found in cli.json("dead", "list", "--workflow", "buried") if found["run"] == run]
    assert (letter["step"], letter["attempts"], letter["reason"], letter["episode"]) == ("it", 1, "non_retryable", 1)
    assert cli.json("runs", "show", run)[0]["started"] <= letter["created"]
    kept = "select step.input from wf_dead_letter letter join wf_step step on step.id = letter.step where letter.run = :run"
    assert here.query(kept, run=here.id(run)) == [('{"reason":"paper ran out"}',)]

    assert cli.json("dead", "retry", "--all", "--workflow", "buried", "--by", "ada") == [{"to_be_retried": 1}]
    again = eventually(lambda: [found for found in cli.json("dead", "list", "--workflow", "buried") if found["episode"] == 2])
    assert [(found["run"], found["attempts"]) for found in again] == [(run, 2)]
    commits = cli.json("runs", "show", run, "--history")
    assert [fact["by"] for commit in commits for fact in commit["facts"] if fact["fact"] == "run_reopened"] == ["ada"]
    assert cli.json("dead", "purge", again[0]["id"], "--yes") == [{"purged": 1}]
    assert [found["status"] for found in cli.json("dead", "list", "--workflow", "buried", "--status", "all")] == ["retried"]
    assert cli.json("runs", "show", run)[0]["status"] == "failed", "a purge changes no run"


@pytest.mark.promise("B24")
def test_the_command_line_shows_whose_a_run_is_what_it_went_by_and_how_it_ended(here: Here) -> None:
    here.publish(FAILS.format(name="recorded", reason="too bad").replace("tasks:", "version: '7'\ntasks:"))
    failed = here.shell("start_workflow('recorded', {}, key='b24', tags=['red'], organization_id='acme').id")
    here.ended(failed)
    (view,) = Cli(here.database_url).json("runs", "show", failed)
    told = {name: view[name] for name in ("organization_id", "workflow", "version_label", "status", "key", "tags")}
    assert told == {
        "organization_id": "acme",
        "workflow": "recorded",
        "version_label": "7",
        "status": "failed",
        "key": "b24",
        "tags": ["red"],
    }
    assert view["error"] == {"type": "GiveUp", "code": "gave_up", "message": "too bad", "step": "it"}
    assert view["created"] <= view["started"] <= view["ended"]
    assert here.query("select signature, version from wf_definition where name = 'recorded'") == [(view["definition"], "7")]
    assert here.query("select input, parent_step from wf_run where id = :run", run=here.id(failed)) == [("{}", None)]


@pytest.mark.promise("B24")
def test_a_wait_is_a_row_with_its_kind_and_its_times_and_a_cancel_ends_it(here: Here) -> None:
    run, cli = here.start("napping.bind('90d')"), Cli(here.database_url)
    eventually(lambda: here.status(run) == "waiting")
    wait = "select kind, status, due_at > opened_at, ended_at is not null from wf_wait where run = :run"
    assert here.query(wait, run=here.id(run)) == [("sleep", "open", True, False)]
    cli("runs", "cancel", run, "--reason", "no longer wanted")
    assert here.ended(run) == "cancelled"
    assert here.query(wait, run=here.id(run)) == [("sleep", "cancelled", True, True)]
    (view,) = cli.json("runs", "show", run)
    assert (view["status"], view["reason"], view["has_output"]) == ("cancelled", "no longer wanted", False)


STORY = """
name: story
tasks:
  - {name: nap, type: sleep, duration: 0.01s}
  - {name: say, action: $app.echo, after: [nap], input: {value: 1}}
"""


@pytest.mark.promise("A2")
def test_a_worker_and_a_bare_call_of_the_engine_tell_one_story(here: Here, sqlite: Database) -> None:
    here.publish(STORY)
    run = here.named("story")
    assert here.ended(run) == "succeeded"
    by_a_worker = [(fact["fact"], fact.get("step")) for fact in here.facts(run)]

    runtime, definition = runtime_on(sqlite), load_yaml(STORY.replace("$app", APP))
    with sqlite.transaction() as tx:
        definitions.store(tx, signature(definition), definition.name, definition.version, canonical_json(definition), strict=False)
    bare = started(sqlite, definition=signature(definition), input="{}")
    executing.dispatch(runtime, "default", bare)
    all_due(sqlite)
    Sweep(runtime)()
    ((step,),) = look(sqlite, "select id from wf_step where run = :run and name = 'say'", run=bare)
    executing.execute(runtime, "default", UUID(step))
    commits = look(sqlite, "select facts from wf_history where run = :run order by version", run=bare)
    assert [(fact["fact"], fact.get("step")) for (facts,) in commits for fact in json.loads(facts)] == by_a_worker
