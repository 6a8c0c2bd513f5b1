"""Schedules on a database, their time set back, and what came of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from tests.store.rows import change
from wfcelery.authoring.yaml import load_yaml
from wfcelery.service import definitions, schedules
from wfcelery.service.context import Context
from wfcelery.settings import Settings
from wfcelery.store import schedules as stored
from wfcelery.store.database import Database
from wfcelery.store.schedules import StoredSchedule

REPORT = """
name: report
parameters: {region: {type: string, required: true}, at: {}}
tasks:
  - {name: only, action: x}
"""
DAILY = {"cron": "0 3 * * *", "timezone": "Europe/Berlin"}


def context_on(database: Database, text: str = REPORT) -> Context:
    """A process that has this workflow's definition stored."""
    context = Context(database, Settings())
    definitions.store(context, load_yaml(text))
    return context


def made(context: Context, name: str = "nightly", given: dict[str, Any] | None = None, **options: Any) -> StoredSchedule:
    """A schedule of the report."""
    schedules.put(context, name, "report", {"region": "eu"} if given is None else given, {"every": "1h"} | options)
    return row_of(context, name)


def row_of(context: Context, name: str = "nightly") -> StoredSchedule:
    with context.transaction() as tx:
        found = stored.find(tx, "default", name)
    assert found is not None
    return found


def set_back(context: Context, slots: int, name: str = "nightly") -> datetime:
    """So many slots of an hourly schedule have come, and nobody has looked: the first of them."""
    row = row_of(context, name)
    assert row.next_slot is not None
    first = row.next_slot - slots * timedelta(hours=1)
    return _set(context, name, first)


def set_to_now(context: Context, name: str = "nightly") -> datetime:
    """A slot has come a second ago."""
    return _set(context, name, row_of(context, name).now.replace(microsecond=0) - timedelta(seconds=1))


def _set(context: Context, name: str, slot: datetime) -> datetime:
    moment = written(context.database, slot)
    change(context.database, f"update wf_schedule set next_slot = {moment}, due_at = {moment} where name = '{name}'")
    return slot


def written(database: Database, moment: datetime) -> str:
    """A moment as SQL of this database."""
    return f"timestamptz '{moment.isoformat()}'" if database.dialect == "postgresql" else str(moment.timestamp())
