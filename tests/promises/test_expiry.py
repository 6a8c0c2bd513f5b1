"""Retention: what expires, what stays, and that the engine neither knows of it nor needs it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet
from tests.cli.command_line import Cli
from tests.corruption.clean import Clean
from tests.corruption.clean import clean as clean_and_more
from tests.promises.conftest import APP
from tests.store.rows import change, look, started
from wfcelery.service import expiring, starting
from wfcelery.service.context import Context
from wfcelery.service.expiring import Expired
from wfcelery.service.invariants import Ledgers, problems_of_all
from wfcelery.settings import Settings
from wfcelery.store import expiring as expiring_rows
from wfcelery.store import idempotency
from wfcelery.store.database import Database, Tx
from wfcelery.store.schema import metadata, run
from wfcelery.store.starting import Found, NewRun, find_by_key
from wfcelery.worker import beat

AT_ONCE = 0.000_001  # seconds for which an ended run is kept: no test waits for thirty days
HELD = [table.name for table in metadata.sorted_tables if "run" in table.c]


def expired(database: Database, kept_for: float = AT_ONCE) -> Expired:
    return expiring.expire(Context(database, Settings()), kept_for)


def clean(database: Database) -> Clean:
    """Runs of which one may expire, another once its letter is gone: all others that have ended are deleted at once."""
    runs = clean_and_more(database)
    ended = {UUID(str(id_)) for (id_,) in look(database, "select cast(id as text) from wf_run where ended_at is not null")}
    with database.transaction() as tx:
        expiring_rows.delete(tx, [*(ended - {runs.runs["order"], runs.runs["failed"]})])
    return runs


def rows_of(database: Database, run: UUID) -> dict[str, int]:
    """How many rows each table holds of a run."""
    counted = {name: look(database, f"select count(*) from {name} where run = :run", run=run)[0][0] for name in HELD}
    return {**counted, "wf_run": look(database, "select count(*) from wf_run where id = :run", run=run)[0][0]}


def wrong(database: Database, ledgers: Ledgers) -> list[str]:
    return [str(problem) for _, found in problems_of_all(database, ledgers) for problem in found]


def test_an_ended_run_goes_with_every_row_of_it_and_nothing_else_does(database: Database) -> None:
    runs = clean(database)
    before = {name: rows_of(database, run) for name, run in runs.runs.items()}
    assert all(before["order"][name] for name in ("wf_step", "wf_history", "wf_wait", "wf_dead_letter", "wf_run")), "it has some of each"
    assert expired(database, 3600.0) == Expired(0, 0), "it is younger than that"
    assert expired(database) == Expired(1, 0)
    after = {name: rows_of(database, run) for name, run in runs.runs.items()}
    assert set(after["order"].values()) == {0}
    assert {name: after[name] for name in after if name != "order"} == {name: before[name] for name in before if name != "order"}
    assert wrong(database, replace(runs.ledgers, retention=AT_ONCE)) == [], "the ledgers know it, and it may have expired"
    said = wrong(database, replace(runs.ledgers, retention=3600.0))
    assert {int(problem.split()[0]) for problem in said} == {2, 29}, "it has gone before its time"


def test_an_open_dead_letter_keeps_its_run_until_somebody_has_seen_to_it(database: Database) -> None:
    runs = clean(database)
    expired(database)
    assert rows_of(database, runs.runs["failed"])["wf_run"] == 1
    change(database, "delete from wf_dead_letter where status = 'open'")
    assert expired(database) == Expired(1, 0)
    assert set(rows_of(database, runs.runs["failed"]).values()) == {0}


def test_a_fact_in_the_inbox_keeps_its_run(database: Database) -> None:
    runs = clean(database)
    change(database, "update wf_inbox set run = :run where run = :reported", run=runs.runs["order"], reported=runs.runs["reported"])
    assert expired(database) == Expired(0, 0)


def test_a_tree_goes_whole_or_not_at_all(database: Database) -> None:
    """A child is a run whose parent is a step of another; nothing makes one yet."""
    runs = clean(database)
    order, later = runs.runs["order"], runs.runs["later"]
    change(database, "delete from wf_dead_letter where status = 'open'")
    for parent, child in ((order, runs.runs["failed"]), (runs.runs["failed"], later)):
        [(step,)] = look(database, "select max(cast(id as text)) from wf_step where run = :run", run=parent)
        change(database, "update wf_run set parent_step = :step where id = :run", step=UUID(str(step)), run=child)
    assert expired(database) == Expired(0, 0), "a grandchild has not begun"
    assert wrong(database, Ledgers(purged=True)) == []
    change(database, "delete from wf_run where id = :run", run=later)
    assert expired(database) == Expired(2, 0)
    assert {sum(rows_of(database, run).values()) for run in (order, runs.runs["failed"])} == {0}


def test_many_trees_go_in_several_commits(database: Database) -> None:
    many = 2 * expiring.TREES + 1
    for _ in range(many):
        started(database)
    change(database, "update wf_run set status = 'cancelled', version = 1, due_at = null, ended_at = created_at, ring_at = null")
    assert expiring.expire(Context(database, Settings()), AT_ONCE, within=0.0) == Expired(expiring.TREES, 0, more=True)
    assert expired(database) == Expired(many - expiring.TREES, 0)


def test_a_run_that_somebody_holds_is_left_for_the_next_time(database: Database) -> None:
    clean(database)
    if database.dialect == "sqlite":  # whoever writes holds all of it, and the others wait
        assert expired(database) == Expired(1, 0)
        return
    engine = database.apart()
    with engine.begin() as other:
        other.execute(sa.select(run.c.id).where(run.c.status == "succeeded").with_for_update(key_share=True))
        assert expired(database) == Expired(0, 0)
    engine.dispose()
    assert expired(database) == Expired(1, 0)


def test_a_key_is_kept_as_long_as_its_run_and_that_of_a_function_until_it_expires(database: Database) -> None:
    clean(database)
    change(database, "update wf_run set key = 'mine', active_key = 'mine' where status = 'succeeded'")
    with database.transaction() as tx:
        idempotency.begin(tx, "default", "f", "young", uuid4(), 3600.0)
        idempotency.begin(tx, "default", "f", "old", uuid4(), 0.0)
        assert find_by_key(tx, "default", "order", "mine") is not None
    assert expired(database) == Expired(1, 1)
    assert look(database, "select key from wf_idempotency") == [("young",)]
    started(database, key="mine")


def test_a_start_whose_key_expires_under_its_hands_takes_the_key(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the insert that met the key and the look for who holds it."""
    clean(database)
    change(database, "update wf_run set key = 'mine', active_key = 'mine' where status = 'succeeded'")

    def gone(tx: Tx, organization_id: str, workflow: str, key: str) -> Found | None:
        for id in expiring_rows.roots(tx, AT_ONCE, UUID(int=0), 1):  # noqa: A001
            expiring_rows.delete(tx, [id])
        return find_by_key(tx, organization_id, workflow, key)

    monkeypatch.setattr(starting, "find_by_key", gone)
    with database.transaction() as tx:
        new = NewRun(uuid4(), "default", "order", "s", "{}", "d", key="mine")
        assert starting._insert(tx, starting.Start("s", new, "return")) == new.id


def test_the_command_says_what_it_deleted_and_keeps_for_ever_what_is_to_be_kept(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    clean(sqlite)
    cli = Cli(sqlite.url)
    assert cli("db", "expire").stderr == "deleted: 0 runs, 0 expired keys\n"
    monkeypatch.setenv("WFCELERY_RETENTION", "0")
    assert cli("db", "expire").stderr == "runs are kept for ever: retention is 0; 0 expired keys deleted\n"
    assert "it is longer than nothing" in cli("db", "expire", "--older-than", "0s", code=2).stderr
    assert cli("db", "expire", "--older-than", "0.000001s", "--json").stdout == '{"runs": 1, "keys": 0}\n'


# ---- and the engine ------------------------------------------------------------------------------------------------------


def test_no_code_of_the_engine_knows_how_anything_expires() -> None:
    source = (
        "import importlib, pkgutil, sys, wfcelery.engine\n"
        "for found in pkgutil.walk_packages(wfcelery.engine.__path__, 'wfcelery.engine.'):\n    importlib.import_module(found.name)\n"
        "print([name for name in sys.modules if 'expiring' in name or name.endswith('store.idempotency')])"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


FAIL = (
    "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no run is deleted today'; end $$",
    "create trigger refuse before delete on wf_run for each row execute function refuse()",
)


@pytest.mark.promise("B10")
def test_runs_go_on_while_expiry_fails_each_time_and_when_nobody_asks_for_it(fleet: Fleet) -> None:
    """A stock worker and a stock beat. First the database refuses every delete, then nothing is wrong, then beat is gone."""
    fleet.app = APP
    fleet.environment |= {"WFCELERY_POLL": "0.2", "WFCELERY_RETENTION": "4", "WFCELERY_EXPIRE_EVERY": "0.3"}
    fleet.upgrade()
    for statement in FAIL:
        fleet.query(statement)
    worker, beat = fleet.worker(), fleet.beat()
    fleet.ready(worker, beat)
    first = fleet.start("double_twice.bind(3)")
    assert fleet.result(first) == 12
    eventually(lambda: worker.log.read_text().count("wfcelery.expire could not be worked off; beat asks again") > 2)
    second = fleet.start("napping.bind(0.5)")
    assert fleet.result(second) == 2
    assert fleet.query("select count(*) from wf_run") == [(2,)]
    assert fleet.faults() == {}

    fleet.query("drop trigger refuse on wf_run")
    live = fleet.start("napping.bind(60)")
    eventually(lambda: fleet.query("select cast(id as text) from wf_run") == [(live,)], what="what ended is gone, what lives stays")
    assert fleet.query("select distinct cast(run as text) from wf_step") == [(live,)]
    assert fleet.faults() == {}

    assert beat.stop() == 0
    third = fleet.start("failing_once.bind('0.2s')")
    assert fleet.result(third) == 2
    assert fleet.faults() == {}


def test_an_interval_of_0_takes_the_entry_from_beat_and_leaves_the_sweep() -> None:
    assert set(beat.entries(poll=1.0, expire_every=0.0)) == {"wfcelery-sweep"}
    assert set(beat.entries(poll=1.0, expire_every=60.0)) == {"wfcelery-sweep", "wfcelery-expire"}
