"""How a migration gives a CHECK more words. A table is not written anew for that: no row breaks a longer list."""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op


def add_words(table: str, constraint: str, column: str, *added: str) -> None:
    """`check column in (...)` gets these words at its end, whatever others it has by now."""
    if op.get_bind().dialect.name == "postgresql":
        look = sa.text("select pg_get_constraintdef(oid) from pg_constraint where conname = :name")
        known = re.findall(r"'(\w+)'", str(op.get_bind().scalar(look, {"name": constraint})))
        op.drop_constraint(constraint, table, type_="check")
        op.create_check_constraint(constraint, table, f"{column} in ({_listed([*known, *added])})")
        return
    found = re.search(rf"CONSTRAINT {constraint} CHECK \({column} in \(([^)]*)\)\)", text_of(table))
    assert found is not None, f"{table} has no list of words {constraint}"
    reword_table(table, found[0], found[0].replace(found[1], _listed([*re.findall(r"'(\w+)'", found[1]), *added])))


def _listed(words: list[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def reword_function(name: str, old: str, new: str) -> None:
    """The same function of PostgreSQL with another text."""
    text = op.get_bind().scalar(sa.text("select pg_get_functiondef(cast(:name as regproc))"), {"name": name})
    assert text is not None
    assert old in text, f"{name} does not say {old}"
    op.get_bind().exec_driver_sql(text.replace(old, new).replace("%", "%%"))


def reword_table(name: str, old: str, new: str) -> None:
    """The same table of SQLite with another CHECK. Its rows stay where they are: https://sqlite.org/lang_altertable.html, section 7."""
    connection, text = op.get_bind(), text_of(name)
    assert old in text, f"{name} does not say {old}"
    number = connection.exec_driver_sql("pragma schema_version").scalar_one()
    connection.exec_driver_sql("pragma writable_schema = on")
    connection.execute(
        sa.text("update sqlite_master set sql = :sql where type = 'table' and name = :name"), {"sql": text.replace(old, new), "name": name}
    )
    connection.exec_driver_sql(f"pragma schema_version = {number + 1}")
    connection.exec_driver_sql("pragma writable_schema = off")


def text_of(table: str) -> str:
    """What SQLite keeps of a table: the text that makes it."""
    look = sa.text("select sql from sqlite_master where type = 'table' and name = :name")
    return str(op.get_bind().scalar(look, {"name": table}))
