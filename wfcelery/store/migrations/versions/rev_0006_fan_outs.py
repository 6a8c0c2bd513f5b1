"""A fan-out counts the items that their own condition left out; items are added to it, it is completed, its failed ones run again."""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ADDED = ("rerun_failed", "add_items", "complete_items")


def upgrade() -> None:
    """`skipped` is null where nobody has counted: of plain steps, and of fan-outs that began before."""
    op.add_column("wf_step", sa.Column("skipped", sa.Integer))
    if op.get_bind().dialect.name == "postgresql":
        _words_of_a_constraint()
    else:
        _words_of_a_table()


def _words_of_a_constraint() -> None:
    look = "select pg_get_constraintdef(oid) from pg_constraint where conname = 'wf_inbox_fact'"
    known = re.findall(r"'(\w+)'", str(op.get_bind().scalar(sa.text(look))))
    op.drop_constraint("wf_inbox_fact", "wf_inbox", type_="check")
    op.create_check_constraint("wf_inbox_fact", "wf_inbox", f"fact in ({_listed(known)})")


def _words_of_a_table() -> None:
    """SQLite keeps a CHECK in the text of its table, which may be changed in place: no row breaks a longer list."""
    connection = op.get_bind()
    look = "select sql from sqlite_master where type = 'table' and name = 'wf_inbox'"
    text = str(connection.exec_driver_sql(look).scalar())
    found = re.search(r"fact in \(([^)]*)\)", text)
    assert found is not None, "wf_inbox has no list of facts"
    known = re.findall(r"'(\w+)'", found[1])
    longer = text.replace(found[0], f"fact in ({_listed(known)})")
    version = connection.exec_driver_sql("pragma schema_version").scalar_one()
    connection.exec_driver_sql("pragma writable_schema = on")
    connection.execute(sa.text("update sqlite_master set sql = :sql where type = 'table' and name = 'wf_inbox'"), {"sql": longer})
    connection.exec_driver_sql(f"pragma schema_version = {version + 1}")
    connection.exec_driver_sql("pragma writable_schema = off")


def _listed(known: list[str]) -> str:
    return ", ".join(f"'{word}'" for word in (*known, *ADDED))
