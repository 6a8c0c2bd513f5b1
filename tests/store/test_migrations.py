"""The migrations make exactly the tables that the statements are written for."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest
import sqlalchemy as sa

from tests.store.rows import look
from wfcelery.errors import Misconfigured
from wfcelery.store import migrations
from wfcelery.store.database import Database
from wfcelery.store.migrations import running
from wfcelery.store.schema import metadata

_POSTGRES = (
    "select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid) from pg_class c"
    " join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
    " left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum where c.relkind = 'r' and c.relname like 'wf\\_%'",
    "select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint where conname like 'wf\\_%' and contype <> 'n'",
    "select tablename, indexname, indexdef from pg_indexes where tablename like 'wf\\_%'",
    "select relname, reloptions::text from pg_class where relkind = 'r' and relname like 'wf\\_%'",
    "select tgrelid::regclass::text, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal",
    "select proname, prosrc from pg_proc where proname like 'wf\\_%'",
)
_SQLITE = ("select name, sql from sqlite_master where name like 'wf\\_%' escape '\\'",)


def _tables(database: Database) -> set[Any]:
    """Everything the database says of our tables, without Alembic's own and without the order of a table's parts."""
    found = set()
    for query in _POSTGRES if database.dialect == "postgresql" else _SQLITE:
        for row in look(database, query):
            if "wf_alembic_version" not in str(row):
                found.add(_plain(row))
    return found


def _plain(row: tuple[Any, ...]) -> Any:
    if not str(row[-1]).startswith("CREATE TABLE"):
        return tuple(re.sub(r"\s+", " ", str(part)) for part in row)
    # By the commas outside of brackets: a column that was added later stands on the line of the one before it.
    inside = str(row[-1]).partition("(")[2].rpartition(")")[0]
    parts = re.split(r",\s*(?![^()]*(?:\([^()]*\)[^()]*)*\))", inside)
    return row[0], tuple(sorted(re.sub(r"\s+", " ", part).strip() for part in parts))


def _drop(database: Database) -> None:
    engine = database.apart()
    made = sa.MetaData()
    with engine.connect() as connection:
        made.reflect(connection)
        made.drop_all(connection)
        connection.commit()
    engine.dispose()


def test_the_version_that_is_known_without_alembic_is_that_of_the_newest_revision() -> None:
    assert migrations.wanted() == running.newest()


def test_the_migrated_tables_are_those_of_the_schema(fresh_database: Database) -> None:
    migrated = _tables(fresh_database)
    _drop(fresh_database)
    metadata.create_all(engine := fresh_database.apart())
    engine.dispose()
    assert migrated == _tables(fresh_database)


def test_a_second_upgrade_does_nothing(fresh_database: Database) -> None:
    before = look(fresh_database, "select ns from wf_meta")
    assert migrations.upgrade(fresh_database) == (migrations.wanted(), migrations.wanted())
    assert look(fresh_database, "select ns from wf_meta") == before
    migrations.check(fresh_database)


def test_every_migration_gives_a_name_of_its_own_and_two_places_to_sweep(fresh_database: Database) -> None:
    before = look(fresh_database, "select ns from wf_meta")
    _drop(fresh_database)
    assert migrations.upgrade(fresh_database) == (None, migrations.wanted())
    assert look(fresh_database, "select ns from wf_meta") != before
    assert look(fresh_database, "select place from wf_sweeper order by place") == [(1,), (2,)]


def test_processes_that_upgrade_at_once_take_turns(database_url: str) -> None:
    failed: list[BaseException] = []

    def upgrade() -> None:
        try:
            migrations.upgrade(Database(database_url))
        except BaseException as problem:
            failed.append(problem)

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failed == []
    assert migrations.versions(Database(database_url)) == (migrations.wanted(), migrations.wanted())


def test_missing_tables_are_told_with_their_remedy(database_url: str) -> None:
    bare = Database(database_url)
    assert migrations.versions(bare) == (None, migrations.wanted())
    with pytest.raises(Misconfigured, match="wfcelery db upgrade"):
        migrations.check(bare)


def test_a_migration_that_fails_leaves_nothing(database_url: str) -> None:
    bare = Database(database_url)
    engine = bare.apart()
    with engine.connect() as connection:
        connection.execute(sa.text("create table wf_wait (id integer)"))
        connection.commit()
    with pytest.raises(sa.exc.DatabaseError):
        migrations.upgrade(bare)
    assert sa.inspect(engine).get_table_names() == ["wf_wait"]
    engine.dispose()
