"""What is asked of people, while a wait of this id is open."""

from __future__ import annotations

import sqlalchemy as sa

from wfcelery.store.columns import Value, metadata, organization

approval = sa.Table(
    "wf_approval",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),  # of its wait
    organization(),
    sa.Column("run", sa.Uuid, sa.ForeignKey("wf_run.id"), nullable=False),
    sa.Column("step", sa.Uuid, nullable=False),
    sa.Column("name", sa.Text, nullable=False),  # of the task
    sa.Column("title", Value("title"), nullable=False),
    sa.Column("assignees", sa.Text, nullable=False),  # JSON list: those who are asked now
    sa.Column("form", sa.Text),  # JSON: the name of a model, the JSON schema, or both
    sa.Column("remind", sa.Float),  # seconds between two reminders
    sa.Column("escalate", sa.Text, nullable=False),  # JSON list of [seconds, [assignees]]
    sa.Column("timeout", sa.Float),  # seconds
    sa.Column("reminded", sa.Integer, nullable=False, server_default="0"),  # how many reminders are over
    sa.Column("escalated", sa.Integer, nullable=False, server_default="0"),
    sa.Index("wf_approval_run", "run"),
    sa.Index("wf_approval_step", "step"),
)
