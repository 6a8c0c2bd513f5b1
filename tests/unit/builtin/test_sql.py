"""`wf.sql`: one statement with bound values, on a database that the operator has named."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from wfcelery.authoring.context import StepContext, step_context
from wfcelery.builtin import sql
from wfcelery.builtin.failures import InvalidCall, NotConfigured, StatementFailed, StatementRefused
from wfcelery.store import authored
from wfcelery.store.database import Database
from wfcelery.store.failures import SerializationClash


@pytest.fixture
def shop(database_url: str, configure: Callable[..., None]) -> str:
    """Somebody's database, called shop, with a table of goods."""
    configure(sql_databases={"shop": database_url})
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("create table goods (id integer primary key, name text not null, price numeric(9, 2), key text unique)"))
    return database_url


def run(statement: str, parameters: dict[str, Any] | None = None, **more: Any) -> Any:
    return sql.fn(statement, parameters, database="shop", **more)


@pytest.mark.usefixtures("shop")
def test_writing_gives_how_many_and_reading_gives_rows() -> None:
    for number in range(3):
        assert run("insert into goods (id, name) values (:id, :name)", {"id": number, "name": f"mug {number}"}) == 1
    assert run("update goods set price = 5 where id > :id", {"id": 0}) == 2
    assert run("select id, name from goods where id < :most order by id;", {"most": 2}) == [
        {"id": 0, "name": "mug 0"},
        {"id": 1, "name": "mug 1"},
    ]
    assert run("delete from goods where id = 2 returning name") == [{"name": "mug 2"}]
    assert run("select 1 as one where 1 = 2") == []


@pytest.mark.usefixtures("shop")
def test_a_value_is_a_value_whatever_it_says() -> None:
    name = "'; drop table goods; --"
    run("insert into goods (id, name) values (1, :name)", {"name": name})
    assert run("select name from goods where name = :name and name <> ':other'", {"name": name}) == [{"name": name}]


def test_values_of_all_kinds_come_and_go(shop: str) -> None:
    given = {"id": 7, "name": "mug", "price": Decimal("9.50")}
    run("insert into goods (id, name, price) values (:id, :name, :price)", given if "postgres" in shop else {**given, "price": 9.5})
    (row,) = run("select * from goods")
    assert row["price"] == Decimal("9.50")
    assert sql.spec.carry([row])
    if "postgres" in shop:
        moment = datetime(2026, 1, 2, tzinfo=UTC)
        (kinds,) = run("select :at::timestamptz as at, cast(:facts as jsonb) as facts, :ids = any(array[1, 2]) as found", {
            "at": moment, "facts": {"a": [1]}, "ids": 2,
        })  # fmt: skip
        assert kinds == {"at": moment, "facts": {"a": [1]}, "found": True}


@pytest.mark.usefixtures("shop")
def test_the_steps_key_can_be_named_without_being_given() -> None:
    insert = "insert into goods (id, name, key) values (1, 'mug', :idempotency_key) on conflict (key) do nothing"
    with step_context(StepContext("the-key", 1, "run")):
        assert [run(insert), run(insert)] == [1, 0]
    assert run("select key from goods") == [{"key": "the-key"}]


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("statement", "parameters", "fault"),
    [
        ("select 1; select 2", {}, "more than one statement"),
        ("insert into goods (id, name) values (1, 'a'); drop table goods", {}, "more than one statement"),
        (" ; ", {}, "holds no statement"),
        ("-- nothing", {}, "holds no statement"),
        ("commit", {}, "cannot begin or end itself"),
        ("/* x */ ROLLBACK", {}, "cannot begin or end itself"),
        ("select :a, :b", {"a": 1}, "names :b, which parameters lack"),
        ("select :a", {"a": 1, "b": 2}, "parameters hold b, which the statement does not name"),
    ],
)
def test_what_is_no_single_statement_with_its_values_is_told_before_anything_happens(
    statement: str, parameters: dict[str, Any], fault: str
) -> None:
    with pytest.raises(InvalidCall, match=fault):
        run(statement, parameters)
    assert run("select count(*) as n from goods") == [{"n": 0}]


@pytest.mark.usefixtures("shop")
def test_a_semicolon_in_a_text_is_a_semicolon() -> None:
    assert run("select ';:x' as a, 'it''s; so' as \"b;\" -- done; :really") == [{"a": ";:x", "b;": "it's; so"}]


def test_a_fault_tells_its_name_and_no_value(shop: str) -> None:
    insert = "insert into goods (id, name) values (:id, :name)"
    run(insert, {"id": 424242, "name": "hush"})
    with pytest.raises(StatementRefused) as told:
        run(insert, {"id": 424242, "name": "hush"})
    assert told.value.code == ("23505" if "postgres" in shop else "SQLITE_CONSTRAINT_PRIMARYKEY")
    assert "goods" in str(told.value)
    with pytest.raises(StatementRefused, match="nowhere"):
        run("select * from nowhere where name = :name", {"name": "hush"})
    if "postgres" in shop:
        with pytest.raises(StatementRefused) as second:
            run("select cast(:name as integer)", {"name": "hush"})
        told = second
    assert "424242" not in str(told.value)
    assert "hush" not in str(told.value)
    assert told.value.__cause__ is None


@pytest.mark.usefixtures("shop")
def test_rows_have_a_limit_and_columns_names_of_their_own() -> None:
    many = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 50) select i from n"
    assert len(run(many, limit=50)) == 50
    with pytest.raises(StatementRefused, match="more than 49 rows"):
        run(many, limit=49)
    with pytest.raises(StatementRefused, match="two columns have one name"):
        run("select 1 as a, 2 as a")
    with pytest.raises(InvalidCall, match="limit is a number from 1 to 100000"):
        run("select 1 as a", limit=0)


DJANGO = """
import json, sys
from django.conf import settings
settings.configure(DATABASES={"default": json.loads(sys.argv[1])}, USE_TZ=True)
import django
django.setup()
from django.db import connection, transaction
from wfcelery.store.authored import Fault, TooManyRows, execute
with transaction.atomic():
    print(execute(connection, "insert into goods (id, name) values (:id, :name)", {"id": 1, "name": "50%"}, 10))
    print(execute(connection, "select id, name, '%' as sign from goods where name = :name", {"name": "50%"}, 10))
    print(execute(connection, "update goods set name = 'all % of them'", {}, 10))
for statement in ("insert into goods (id, name) values (1, 'hush')", "select 1 as a union select 2"):
    try:
        with transaction.atomic():
            execute(connection, statement, {}, 1)
    except (Fault, TooManyRows) as told:
        print(type(told).__name__, "hush" in str(told))
"""


def test_djangos_own_connection_does_as_well(shop: str) -> None:
    url = sa.make_url(shop)
    kind, host = ("sqlite3", "") if url.get_backend_name() == "sqlite" else ("postgresql", url.host or url.query.get("host"))
    said = {"ENGINE": f"django.db.backends.{kind}", "NAME": url.database, "USER": url.username, "HOST": host, "PORT": str(url.port or "")}
    done = subprocess.run([sys.executable, "-c", DJANGO, json.dumps(said)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["1", "[{'id': 1, 'name': '50%', 'sign': '%'}]", "1", "Fault False", "TooManyRows False"]


def test_postgresql_ends_a_statement_that_takes_too_long(postgres_url: str, configure: Callable[..., None]) -> None:
    configure(sql_databases={"shop": postgres_url})
    with pytest.raises(StatementFailed) as told:
        run("select pg_sleep(30)", timeout="200ms")
    assert told.value.code == "57014"


def test_a_database_that_is_away_is_tried_again_and_says_nothing_of_its_address(configure: Callable[..., None]) -> None:
    configure(sql_databases={"shop": "postgresql://ann:hush@127.0.0.1:1/shop"})
    with pytest.raises(StatementFailed, match="cannot be reached") as told:
        run("select 1")
    assert "hush" not in str(told.value)
    assert "127" not in str(told.value)


def test_a_database_that_nobody_has_named_is_told(configure: Callable[..., None]) -> None:
    with pytest.raises(NotConfigured, match="no database is called default: the operator names"):
        sql.fn("select 1")
    configure(sql_databases={"shop": "nonsense://x"})
    with pytest.raises(Exception, match="SQLAlchemy knows no such kind") as told:
        run("select 1")
    assert told.type.__name__ == "NotInstalled"


def test_only_the_database_of_our_own_tables_is_the_steps_own_transaction(configure: Callable[..., None]) -> None:
    elsewhere = sql.spec.elsewhere
    assert elsewhere({}), "what is not configured needs no transaction to say so"
    configure(
        sql_databases={"default": "own", "shop": "sqlite:///shop.db", "written": "sqlite:///ours.db"}, database_url="sqlite:///ours.db"
    )
    assert [elsewhere({}), elsewhere({"database": "shop"}), elsewhere({"database": "written"})] == [False, True, False]


def test_a_clash_of_transactions_is_the_engines_to_repeat(postgres_url: str) -> None:
    database = Database(postgres_url)
    with database.apart().begin() as connection:
        connection.exec_driver_sql("create table n (i integer)")
        connection.exec_driver_sql("insert into n values (1)")
    update = "update n set i = i + 1"
    with pytest.raises(SerializationClash), database.lent("serializable", 5) as (first, _):
        assert authored.execute(first, "select i from n", {}, 10) == [{"i": 1}]
        with database.lent("serializable", 5) as (second, _):
            assert authored.execute(second, update, {}, 10) == 1
        authored.execute(first, update, {}, 10)
    database.close()
