"""What `runs verify --fix` heals, and what it leaves to people."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.cli.command_line import Cli
from tests.corruption.clean import Clean, clean, reported
from tests.corruption.corruptors import Hand
from tests.store.rows import change, look
from wfcelery.core.decision import RingRun
from wfcelery.errors import RowChanged
from wfcelery.service import healing
from wfcelery.service.context import Context
from wfcelery.service.invariants import problems_of_all
from wfcelery.settings import Settings
from wfcelery.store.database import Database

HEALED = [
    ("open", "update wf_step set ring_at = null where run = {open} and name = 'again'"),
    ("open", "update wf_step set ring_at = null where run = {open} and name = 'pack' and item = -1"),
    ("open", "update wf_step set ring_at = {now} where run = {open} and name = 'busy'"),
    ("open", "update wf_step set items_left = 1 where run = {open} and name = 'pack' and item = -1"),
    ("open", "update wf_run set open_steps = open_steps + 1 where id = {open}"),
    ("open", "update wf_run set deadline = {ahead} where id = {open}"),
    ("open", "update wf_step set deadline_at = {now} where run = {open} and name = 'done'"),
    ("order", "update wf_run set ring_at = {now} where id = {order}"),
    ("reported", "delete from wf_inbox where run = {reported}"),
    ("reported", "update wf_inbox set ring_at = {ahead} where run = {reported}"),
    ("later", "update wf_run set due_at = null where id = {later}"),
    ("later", "update wf_run set ring_at = null where id = {later}"),
]
LEFT = [
    ("order", "delete from wf_step where run = {order} and name = 'skipped'"),
    ("order", "delete from wf_history where run = {order} and version = 3"),
    ("order", "update wf_step set token = null where run = {order} and name = 'a'"),
    ("open", "delete from wf_wait where run = {open} and kind = 'sleep'"),
    ("failed", "delete from wf_dead_letter where run = {failed}"),
]


def _problems(runs: Clean) -> dict[UUID | None, list[str]]:
    return {run: [str(problem) for problem in found] for run, found in problems_of_all(runs.database, runs.ledgers) if found}


def _corrupt(runs: Clean, text: str) -> None:
    with runs.database.transaction() as tx:
        Hand(runs, tx).write(text)


def _version(runs: Clean, name: str) -> int:
    [(version,)] = look(runs.database, "select version from wf_run where id = :run", run=runs.runs[name])
    return int(version)


def test_what_can_be_healed_is_healed_and_the_history_says_so(database: Database) -> None:
    runs = clean(database)
    context = Context(database, Settings())
    for name, text in HEALED:
        before, run = _version(runs, name), runs.runs[name]
        _corrupt(runs, text)
        assert list(_problems(runs)) == [run], text
        planned = healing.planned(context, run)
        assert len(planned) == 1, text
        assert list(_problems(runs)) == [run], "planning writes nothing"
        assert healing.heal(context, run) == planned
        assert _problems(runs) == {}, text
        assert _version(runs, name) == (before + 1 if before else 0)
        assert healing.heal(context, run) == []
    [(told,)] = look(database, "select count(*) from wf_history where facts like '%run_healed%'")
    assert told == sum(name != "later" for name, _ in HEALED)


def test_a_run_whose_report_was_lost_goes_on_to_its_end_once_it_is_healed(database: Database) -> None:
    machine = reported(database, {})
    change(database, "delete from wf_inbox where run = :run", run=machine.run)
    machine.rings = [RingRun("default", machine.run, "celery")]
    machine.answer()
    assert machine.status() == "running"
    assert healing.heal(Context(database, Settings(), machine), machine.run) == ["step pay reports again"]
    assert machine.rings == [RingRun("default", machine.run, None)]
    machine.answer()
    assert machine.status() == "succeeded"
    assert machine.problems() == []


@pytest.mark.parametrize(("name", "text"), LEFT)
def test_what_somebody_would_have_to_make_up_is_left_alone(sqlite: Database, name: str, text: str) -> None:
    runs = clean(sqlite)
    _corrupt(runs, text)
    problems = _problems(runs)
    assert runs.runs[name] in problems
    assert healing.heal(Context(sqlite, Settings()), runs.runs[name]) == []
    assert _problems(runs) == problems


def test_the_command_line_says_first_what_it_would_heal(sqlite: Database) -> None:
    runs = clean(sqlite)
    cli = Cli(sqlite.url)
    run = str(runs.runs["later"])
    [(many,)] = look(sqlite, "select count(*) from wf_run")
    assert cli("runs", "verify", "--all").stdout == f"{many} runs verified, 0 with problems\n"
    _corrupt(runs, "update wf_run set due_at = null where id = {later}")
    first = cli("runs", "verify", "--all", "--fix", code=1)
    assert first.stdout.startswith(f"{run}\t34 live cause: ")
    assert first.stderr.splitlines() == [
        f"{run}: would be healed: the run is rung for at its time, to begin",
        "nothing was written; the same with --fix --yes heals what can be healed of 1 runs",
    ]
    third = cli("runs", "verify", run, code=1)
    assert "34 live cause" in third.stdout
    assert third.stderr == "the same with --fix says what can be healed, and writes nothing\n"
    second = cli("runs", "verify", run, "--fix", "--yes")
    assert second.stderr == f"{run}: healed: the run is rung for at its time, to begin\n"
    assert second.stdout == "1 runs verified, 0 with problems\n"


def test_the_command_line_says_what_it_cannot_heal_and_goes_on_where_somebody_else_writes(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = clean(sqlite)
    cli = Cli(sqlite.url)
    _corrupt(runs, "delete from wf_history where run = {order} and version = 3")
    _corrupt(runs, "update wf_run set due_at = null where id = {later}")
    change(sqlite, "update wf_run set parent_step = id where id = :run", run=runs.runs["failed"])
    order, later = str(runs.runs["order"]), str(runs.runs["later"])

    def busy(context: Context, run: UUID) -> list[str]:
        raise RowChanged(f"run {run}")

    with monkeypatch.context() as patched:
        patched.setattr(healing, "heal", busy)
        said = cli("runs", "verify", "--all", "--fix", "--yes", code=1).stderr
        assert said.count("it was being written, and is left as it is; verify it again") == 2
    done = cli("runs", "verify", "--all", "--fix", "--yes", code=1)
    assert f"{order}: nothing can be healed without making something up; look at wfcelery runs show {order} --history\n" in done.stderr
    assert f"{later}: healed: " in done.stderr
    [(many,)] = look(sqlite, "select count(*) from wf_run")
    assert done.stdout.splitlines()[-1] == f"{many} runs verified, 1 with problems; 1 problems across runs (*)"
    assert cli("runs", "verify", later).stdout == "1 runs verified, 0 with problems\n"
