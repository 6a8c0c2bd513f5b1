"""Transactions: what commits, what rolls back, and what each failure is called."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from tests.acceptance.eventually import eventually
from tests.servers.postgres import Postgres
from tests.store.rows import begun, claimed, commit, look, ready, run_of, started, succeeded
from wfcelery.core.decision import Decision
from wfcelery.core.events import note
from wfcelery.errors import Misconfigured, Unavailable
from wfcelery.store import database as store
from wfcelery.store import inbox, lines
from wfcelery.store.database import Database, DjangoTx, SQLAlchemyTx, Tx, parsed, same_database
from wfcelery.store.failures import CommitUnknown, LockTimeout, SerializationClash
from wfcelery.store.hot import save_fast
from wfcelery.store.loading import load_run, lock_run
from wfcelery.store.reading import ns
from wfcelery.store.saving import save
from wfcelery.store.schema import Instant
from wfcelery.store.starting import NewRun, insert_run
from wfcelery.store.statements import Ids, Statement, one


def _new() -> NewRun:
    return NewRun(uuid4(), "default", "order", "s", "{}", "d")


def test_a_transaction_commits_at_its_end(database: Database) -> None:
    run = started(database)
    assert run_of(database, run).version == 0


def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.transaction() as tx:
        insert_run(tx, _new())
        raise ZeroDivisionError
    assert look(database, "select count(*) from wf_run") == [(0,)]


def test_connections_are_used_again(database: Database) -> None:
    made: list[object] = []
    sa.event.listen(database.engine, "connect", lambda connection, _: made.append(connection))
    for _ in range(30):
        with database.transaction() as tx:
            ns(tx)
        with database.single() as tx:
            ns(tx)
    assert len(made) <= 1, "none, where the making of the tables has left one"


def test_no_more_connections_are_kept_than_were_ever_used_at_once(postgres: Database) -> None:
    few = Database(postgres.url, pool_size=2)
    with ExitStack() as stack:
        for _ in range(5):
            ns(stack.enter_context(few.single()))
    serving = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'wfcelery'"
    kept = look(postgres, serving)[0][0]
    few.close()
    assert kept - eventually(lambda: look(postgres, serving))[0][0] <= 2


def test_a_statement_is_prepared_once_on_a_connection_and_gives_what_the_drivers_cursor_gives(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"t": "naïve", "i": 7, "f": 0.5, "b": True, "u": uuid4(), "d": datetime.now(UTC), "n": None, "many": [uuid4(), uuid4()]}
    kinds = {"t": sa.Text, "i": sa.Integer, "f": sa.Float, "b": sa.Boolean, "u": sa.Uuid, "d": Instant, "n": sa.Text, "many": Ids}
    statement = Statement(sa.select(*(one(name, kind).label(name) for name, kind in kinds.items())))
    with postgres.transaction() as tx:
        [ours] = tx.execute(statement, given).rows
        [again] = tx.execute(statement, given).rows
        assert look_at(tx, "select count(*) from pg_prepared_statements where statement like '%AS many'") == 1
    monkeypatch.setattr(lines, "KNOWN", False)
    with Database(postgres.url).transaction() as tx:
        [drivers] = tx.execute(statement, given).rows
    assert ours == again == drivers == tuple(given.values())


def level(tx: Tx) -> object:
    return tx.execute(Statement(sa.select(sa.func.current_setting("transaction_isolation")))).rows[0][0]


def look_at(tx: Tx, query: str) -> object:
    """The one value that a query of plain text gives."""
    return tx.execute(Statement(sa.select(sa.literal_column(f"({query})", sa.Integer)))).rows[0][0]


def test_a_transaction_waits_for_another_that_holds_the_run(database: Database) -> None:
    run = begun(database, ready("a"))
    order: list[str] = []
    locked, go = threading.Event(), threading.Event()

    def hold() -> None:
        with database.transaction() as tx:
            lock_run(tx, run)
            locked.set()
            go.wait(10)
            order.append("first")

    thread = threading.Thread(target=hold)
    thread.start()
    assert locked.wait(10)
    threading.Timer(0.2, go.set).start()
    with database.transaction() as tx:
        lock_run(tx, run)
        order.append("second")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_result_that_cannot_have_the_lock_is_told_so(postgres: Database) -> None:
    run = started(postgres)
    with postgres.transaction() as holder:
        lock_run(holder, run)
        with pytest.raises(LockTimeout), postgres.transaction() as tx:
            lock_run(tx, run)


def test_a_process_that_hangs_in_a_transaction_lets_go_of_its_run(postgres: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    run = started(postgres)
    monkeypatch.setattr(store, "IDLE", 0.2)
    hanging = Database(postgres.url)
    with pytest.raises(Unavailable), hanging.transaction() as tx:
        lock_run(tx, run)
        gone = "select count(*) from pg_stat_activity where datname = current_database() and state = 'idle in transaction'"
        eventually(lambda: look(postgres, gone) == [(0,)])
        with postgres.transaction() as other:
            assert lock_run(other, run) is not None
        lock_run(tx, run)
    hanging.close()


def test_sqlite_says_clash_where_another_writer_stays(sqlite: Database) -> None:
    blocked = sqlite3.connect(parsed(sqlite.url).database or "", isolation_level=None)
    blocked.execute("BEGIN IMMEDIATE")
    with sqlite.single() as tx:
        ns(tx)
    raw = sqlite.engine.raw_connection()
    raw.cursor().execute("PRAGMA busy_timeout=50")
    raw.close()
    with pytest.raises(SerializationClash), sqlite.transaction() as tx:
        ns(tx)
    blocked.close()
    with sqlite.transaction() as tx:
        ns(tx)


def test_an_insert_into_the_inbox_does_not_wait_for_the_runs_lock(postgres: Database) -> None:
    run = begun(postgres, ready("a"))
    with postgres.transaction() as holder:
        lock_run(holder, run)
        with postgres.transaction() as tx:
            inbox.put(tx, "default", run, "cancel", {})
    with postgres.transaction() as tx:
        assert inbox.look(tx, run)


def test_what_is_read_under_the_lock_is_what_the_last_holder_committed(postgres: Database) -> None:
    """The statement that takes the lock reads the run's row alone; the inbox is looked at by a later one."""
    run = begun(postgres, ready("a"))
    found: list[Any] = []
    locked = threading.Event()

    def second() -> None:
        with postgres.transaction() as tx:
            locked.wait(10)
            row = lock_run(tx, run)
            assert row is not None
            found.append((row.version, inbox.look(tx, run)))

    thread = threading.Thread(target=second)
    thread.start()
    with postgres.transaction() as tx:
        row = lock_run(tx, run)
        assert row is not None
        locked.set()
        until = threading.Event()
        until.wait(0.2)
        inbox.put(tx, "default", run, "cancel", {})
        row.open_steps = 3
        save(tx, Decision(row, row.version, steps=[ready("b")], facts=[note("step_ready", "b")]))
    thread.join(10)
    assert found == [(2, True)]


@pytest.mark.parametrize("isolation", [None, "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_every_isolation_level_holds(postgres: Database, isolation: str | None) -> None:
    with postgres.transaction(isolation) as tx:
        insert_run(tx, _new())
        shown = level(tx)
    assert shown == (isolation or "READ COMMITTED").lower()
    with postgres.transaction() as tx:
        assert level(tx) == "read committed"


def test_a_clash_of_snapshots_is_told_as_one(postgres: Database) -> None:
    run = begun(postgres, ready("a"))
    with pytest.raises(SerializationClash), postgres.transaction("REPEATABLE READ") as tx:
        load_run(tx, run)
        commit(postgres, run, ready("b"))
        lock_run(tx, run)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    nobody = Database("postgresql://postgres@127.0.0.1:1/none")
    with pytest.raises(Unavailable), nobody.transaction():
        pass


def test_a_file_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable), Database(f"sqlite:///{tmp_path / 'no' / 'such.db'}").transaction():
        pass


def test_a_connection_that_died_in_the_pool_is_replaced(postgres_server: Postgres, postgres: Database) -> None:
    run = started(postgres)
    postgres_server.restart()
    assert run_of(postgres, run).version == 0


def test_a_connection_lost_before_the_commit_is_unavailable_and_nothing_is_written(postgres: Database) -> None:
    with pytest.raises(Unavailable), postgres.transaction() as tx:
        insert_run(tx, _new())
        look(postgres, "select pg_terminate_backend(pid) from pg_stat_activity where state = 'idle in transaction'")
        ns(tx)
    assert look(postgres, "select count(*) from wf_run") == [(0,)]


@pytest.fixture
def dying_commit(postgres: Database) -> Database:
    """A database whose next commit that writes history loses its connection while it is under way."""
    statements = (
        "create function die() returns trigger language plpgsql as"
        " $$ begin perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(1); return null; end $$",
        "create constraint trigger dying after insert on wf_history deferrable initially deferred for each row execute function die()",
    )
    with postgres.engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    return postgres


def _heal(database: Database) -> None:
    with database.engine.connect() as connection:
        connection.exec_driver_sql("drop trigger if exists dying on wf_history")
        connection.exec_driver_sql("drop function if exists die cascade")


def test_a_connection_lost_during_the_commit_is_an_unknown_outcome(dying_commit: Database) -> None:
    run = started(dying_commit)
    try:
        with pytest.raises(CommitUnknown):
            commit(dying_commit, run, ready("a"))
    finally:
        _heal(dying_commit)
    commit(dying_commit, run, ready("a"))
    assert run_of(dying_commit, run).version == 1


def test_a_connection_lost_in_the_hot_statement_is_an_unknown_outcome(postgres: Database) -> None:
    row = ready("a")
    run = begun(postgres, row)
    mine = claimed(postgres, row)
    seen = run_of(postgres, run)
    hot = Decision(seen, seen.version, steps=[succeeded(mine)], facts=[note("step_succeeded", "a")])
    with postgres.engine.connect() as connection:
        connection.exec_driver_sql(
            "create function die() returns trigger language plpgsql as"
            " $$ begin perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(1); return null; end $$"
        )
        connection.exec_driver_sql(
            "create constraint trigger dying after insert on wf_history deferrable initially deferred for each row execute function die()"
        )
    try:
        with pytest.raises(CommitUnknown):
            save_fast(postgres, hot)
    finally:
        _heal(postgres)
    assert run_of(postgres, run).version == 1
    save_fast(postgres, hot)
    assert run_of(postgres, run).version == 2


def test_a_child_process_makes_connections_of_its_own(database: Database) -> None:
    run = started(database)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, str(run_of(database, run).version).encode())
        finally:
            os._exit(0)
    os.close(writing)
    assert os.read(reading, 10) == b"0"
    os.close(reading)
    os.waitpid(pid, 0)
    assert run_of(database, run).version == 0


# -- transactions of others ---------------------------------------------------------------------------------------------


def test_a_start_lives_in_the_apps_sqlalchemy_transaction(database: Database) -> None:
    engine = sa.create_engine(parsed(database.url))
    with engine.connect() as connection:
        insert_run(SQLAlchemyTx(connection), _new())
        connection.rollback()
    assert look(database, "select count(*) from wf_run") == [(0,)]
    with engine.connect() as connection:
        assert same_database(database, connection)
        insert_run(SQLAlchemyTx(connection), _new())
        connection.commit()
    assert look(database, "select count(*) from wf_run") == [(1,)]
    engine.dispose()


class _Django:
    """As much of Django's connection as the store looks at."""

    def __init__(self, vendor: str, driver: Any) -> None:
        self.vendor, self._driver = vendor, driver

    def cursor(self) -> Any:
        return _FormatCursor(self._driver.cursor()) if self.vendor == "sqlite" else self._driver.cursor()


class _FormatCursor:
    """Django writes %s for every database."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def execute(self, text: str, parameters: Any = ()) -> Any:
        return self._cursor.execute(text.replace("%s", "?").replace("%%", "%"), parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def __enter__(self) -> _FormatCursor:
        return self

    def __exit__(self, *_: object) -> None:
        self._cursor.close()


def test_a_start_and_a_fact_live_in_djangos_transaction(database: Database) -> None:
    raw = database.engine.raw_connection()
    raw.cursor().execute("BEGIN")
    tx = DjangoTx(_Django(database.dialect, raw.driver_connection))
    new = _new()
    assert insert_run(tx, new)
    inbox.put(tx, "default", new.id, "cancel", {"reason": "50%"})
    raw.cursor().execute("COMMIT")
    raw.close()
    with database.transaction() as own:
        assert [row.data for row in inbox.read(own, new.id, 10)] == [{"reason": "50%"}]


# -- addresses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://u@h/d", "postgresql+psycopg:"),
        ("postgres://u@h/d", "postgresql+psycopg:"),
        ("postgresql+psycopg2://u@h/d", "postgresql+psycopg:"),
        ("sqlite:////tmp/x.db", "sqlite:"),
    ],
)
def test_an_address_means_our_driver(url: str, driver: str) -> None:
    assert str(parsed(url)).startswith(driver)


@pytest.mark.parametrize("url", ["mysql://u@h/d", "sqlite://", "sqlite:///:memory:", "not an address"])
def test_an_address_that_cannot_hold_the_tables_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured):
        Database(url)


def test_many_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    """Each changes the way it is kept; for that SQLite does not wait by itself."""
    failed: list[Exception] = []

    def open_it(url: str) -> None:
        try:
            with Database(url).transaction():
                pass
        except Exception as problem:
            failed.append(problem)

    for number in range(40):
        threads = [threading.Thread(target=open_it, args=(f"sqlite:///{tmp_path / str(number)}.db",)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert failed == []
