"""What a start does, what it refuses, and that there is no other way in."""

from __future__ import annotations

import ast
import base64
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet
from tests.acceptance.shell import ShellError
from tests.cli.command_line import Cli
from tests.promises.conftest import APP, Here

SOURCES = Path(__file__).parents[2] / "wfcelery"


def callers(name: str) -> set[str]:
    """The files of the package that call a function of this name."""
    return {
        str(path.relative_to(SOURCES))
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and name in (getattr(node.func, "id", None), getattr(node.func, "attr", None))
    }


def inserting_into(table: str) -> set[str]:
    """The files of the package that build an INSERT into this table."""
    return {
        str(path.relative_to(SOURCES))
        for path in SOURCES.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and "insert" in (getattr(node.func, "id", None), getattr(node.func, "attr", None))
        and [getattr(argument, "id", getattr(argument, "attr", None)) for argument in node.args][:1] == [table]
    }


@pytest.mark.promise("B8", "A2")
def test_one_function_inserts_runs_and_one_decides() -> None:
    assert inserting_into("run") == {"store/starting.py"}
    assert callers("insert_run") == {
        "engine/scheduling.py",
        "service/replaying.py",
        "service/schedules.py",
        "service/starting.py",
        "service/triggering.py",
        "store/children.py",
        "store/starting.py",
    }
    assert callers("decide") == {"core/decide.py", "engine/apply.py"}
    assert callers("save") == {"engine/apply.py", "store/hot.py"}
    assert inserting_into("history") == {"store/saving.py", "store/hot.py", "store/healing.py"}  # the last: what `runs verify --fix` heals


@pytest.mark.promise("B8")
@pytest.mark.parametrize("status", ["draft", "archived"])
def test_neither_a_draft_nor_what_is_archived_starts(here: Here, status: str) -> None:
    here.publish(f"name: only_{status}\ntasks:\n  - {{name: one, action: $app.double, input: {{number: 1}}}}\n")
    here.query("update wf_definition set status = :status where name = :name", status=status, name=f"only_{status}")
    with pytest.raises(ShellError, match="NotFound"):
        here.named(f"only_{status}")
    assert here.query("select count(*) from wf_run where workflow = :name", name=f"only_{status}") == [(0,)]


@pytest.mark.promise("B8")
def test_code_that_still_has_a_draft_or_what_is_archived_does_not_start_it_either(alone: Here) -> None:
    """Neither bound, nor by its name, nor on the command line; published again, it starts."""
    cli = Cli(alone.database_url)
    alone.script("from wfcelery import start_workflow\nstart_workflow(double_twice.bind(1))")
    assert [(found["name"], found["status"]) for found in cli.json("definitions", "list")] == [("double_twice", "published")]
    for status in ("draft", "archived"):
        alone.query("update wf_definition set status = :status", status=status)
        assert [found["status"] for found in cli.json("definitions", "list")] == [status]
        for start in ("double_twice.bind(1)", "'double_twice', {'number': 1}"):
            with pytest.raises(ShellError, match=f"NotAllowedNow.*double_twice version .* is (a )?{status}: no run can begin with it"):
                alone.shell(f"start_workflow({start}).id")
    alone.run("-A", APP, "runs", "start", "double_twice", '{"number": 1}', code=4)
    assert alone.query("select count(*) from wf_run") == [(1,)]
    alone.query("update wf_definition set status = 'published'")
    assert alone.status(alone.start("double_twice.bind(1)")) == "pending"


COUNTED = """
from wfcelery import start_workflow
from wfcelery.store.database import CursorTx
start_workflow(routed_once.bind("{{ parameters.word }}"))
said, plain = [], CursorTx.execute
CursorTx.execute = lambda self, statement, *given: said.append(1) or plain(self, statement, *given)
app.amqp.router.route = None  # whoever asks for a route finds none
print(start_workflow(routed_once.bind("{{ parameters.word }}")).id, len(said))
"""


@pytest.mark.promise("D2", "A1")
def test_a_start_is_one_statement_and_runs_nothing_of_the_workflow(alone: Here) -> None:
    """No worker is there, no broker answers; the row alone carries the wish."""
    run, statements = alone.script(COUNTED).split()
    assert statements == "1"
    row = "select status, version, due_at is not null, output from wf_run where id = :run"
    assert alone.query(row, run=alone.id(run)) == [("pending", 0, True, None)]
    for table in ("wf_step", "wf_history", "wf_wait"):
        assert alone.query(f"select count(*) from {table}") == [(0,)]
    assert alone.effects.all() == []
    alone.late_worker("celery,by-route")
    assert alone.result(run) == "{{ parameters.word }}", "and what looks like a template in an input is a text"
    assert alone.steps(run) == {"routed": "succeeded"}


def test_a_script_that_starts_one_workflow_and_ends_has_rung_for_it(
    make_fleet: Callable[..., Fleet], sqlite_url: str, redis_url: str
) -> None:
    """The ring leaves by a thread, which the end of the process waits for."""
    fleet = make_fleet(kind=Here, app=APP, database_url=sqlite_url, broker_url=redis_url)
    fleet.upgrade()
    run = fleet.script("from wfcelery import start_workflow\nprint(start_workflow(double_twice.bind(1)).id)").strip()
    with redis.Redis.from_url(redis_url) as client:
        (message,) = client.lrange("celery", 0, -1)
    assert json.loads(base64.b64decode(json.loads(message)["body"]))[1]["run"] == run


@pytest.mark.promise("D9")
def test_an_input_is_refused_with_every_wrong_field_and_before_anything_is_stored(here: Here) -> None:
    here.publish(
        """
        name: strict
        parameters: {count: {type: integer, required: true}, word: {type: string}, tags: {type: array, default: []}}
        tasks:
          - {name: one, action: $app.double, input: {number: "{{ parameters.count }}"}}
        """
    )
    before = here.query("select (select count(*) from wf_run), (select count(*) from wf_definition), (select count(*) from wf_history)")
    with pytest.raises(ShellError) as told:
        here.shell("start_workflow('strict', {'word': 7, 'tags': 'x', 'cuont': 1}).id")
    assert told.value.kind == "InvalidInput"
    for field in ("count", "word", "tags", "cuont"):
        assert field in str(told.value)
    with pytest.raises(ShellError, match=r"InvalidInput.*number"):
        here.shell("start_workflow('double_twice', {'number': 'three'}).id")
    after = here.query("select (select count(*) from wf_run), (select count(*) from wf_definition), (select count(*) from wf_history)")
    assert after == before


@pytest.mark.promise("D8")
def test_steps_have_unique_names_and_say_what_they_take(here: Here) -> None:
    known = here.shell(
        "from wfcelery.authoring.registry import registry\nspec = registry.step('tests.promises.app.described')\n"
        "[spec.name, list(spec.parameters), spec.queue, spec.description.splitlines()[0]]"
    )
    assert known == [f"{APP}.described", ["number", "word"], "papers", "Writes a word so many times."]
    with pytest.raises(ShellError, match=r"AuthoringError.*two steps are called tests\.promises\.app\.described"):
        here.shell("step(name='tests.promises.app.described')(lambda number: number).name")
    with pytest.raises(ShellError, match=r"did you mean"):
        here.shell("registry.step('tests.promises.app.describd').name")


@pytest.mark.promise("E34")
def test_a_handle_is_an_id_and_asks_from_any_process(here: Here) -> None:
    assert here.shell("import pickle\nrun = start_workflow(double_twice.bind(20), key='e34')\nrun.result(timeout=20)") == 80
    text = here.shell("pickle.dumps(run).decode('latin-1')")
    run = pickle.loads(text.encode("latin-1"))  # noqa: S301
    assert (run.id, run.key) == (here.shell("run.id"), "e34")
    assert "double" not in text
    asked = here.shell("again = pickle.loads(pickle.dumps(run))\n[again.status(), again == run, len(again.history())]")
    assert asked[:2] == ["succeeded", True]
    assert asked[2] >= 3
    other = here.shell("start_workflow(napping.bind(60)).id")
    eventually(lambda: here.status(other) == "waiting")
    here.script(f"from wfcelery import get_run\nget_run({other[-8:]!r}).cancel('by another process')")
    with pytest.raises(ShellError, match=r"RunCancelled.*by another process"):
        here.result(other)
