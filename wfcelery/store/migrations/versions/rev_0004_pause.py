"""Runs can be paused, and terminated; `wf_audit` says who did what to which run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from wfcelery.store.schema import Instant

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

RUN = "'waiting', 'cancelling', 'succeeded'", "'waiting', 'paused', 'cancelling', 'succeeded'"
INBOX = "fact in ('reported', 'cancel', 'retry')", "fact in ('reported', 'cancel', 'terminate', 'pause', 'resume', 'retry')"


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        reword_function("wf_run_rules", *RUN)
        op.drop_constraint("wf_inbox_fact", "wf_inbox", type_="check")
        op.create_check_constraint("wf_inbox_fact", "wf_inbox", INBOX[1])
    else:
        reword_table("wf_run", *RUN)
        reword_table("wf_inbox", *INBOX)
    op.create_table(
        "wf_audit",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("organization_id", sa.Text, nullable=False),
        sa.Column("run", sa.Uuid),
        sa.Column("at", Instant, nullable=False),
        sa.Column("actor", sa.Text),
        sa.Column("verb", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
    )
    op.create_index("wf_audit_run", "wf_audit", ["run", "at"])
    op.create_index("wf_audit_newest", "wf_audit", ["organization_id", "at"])


def reword_function(name: str, old: str, new: str) -> None:
    """The same function with another list of words."""
    text = op.get_bind().scalar(sa.text("select pg_get_functiondef(cast(:name as regproc))"), {"name": name})
    assert text is not None
    assert old in text, f"{name} does not say {old}"
    op.get_bind().exec_driver_sql(text.replace(old, new).replace("%", "%%"))


def reword_table(name: str, old: str, new: str) -> None:
    """The same table with another CHECK. Its rows stay where they are: https://sqlite.org/lang_altertable.html, section 7."""
    connection = op.get_bind()
    text = connection.scalar(sa.text("select sql from sqlite_master where type = 'table' and name = :name"), {"name": name})
    assert text is not None
    assert old in text, f"{name} does not say {old}"
    number = connection.exec_driver_sql("pragma schema_version").scalar_one()
    connection.exec_driver_sql("pragma writable_schema = on")
    connection.execute(
        sa.text("update sqlite_master set sql = :sql where type = 'table' and name = :name"), {"sql": text.replace(old, new), "name": name}
    )
    connection.exec_driver_sql(f"pragma schema_version = {number + 1}")
    connection.exec_driver_sql("pragma writable_schema = off")
