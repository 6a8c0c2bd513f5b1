"""celery-director: workflows in YAML on Celery, Redis as its broker and result backend, PostgreSQL as its store.

A group is written out in the YAML, item by item; its items do not know which of them they are but from Celery's own request. The
answer is there when the workflow says success, which it does half a second after the last task.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

from benchmarks.sides.contract import CHAIN_LENGTH
from benchmarks.sides.peers.given import become, beside, database, folder, wait_until

os.environ |= {
    "DIRECTOR_HOME": str(folder()),
    "DIRECTOR_DATABASE_URI": database(),
    "DIRECTOR_BROKER_URI": os.environ["BENCH_BROKER"],
    "DIRECTOR_RESULT_BACKEND_URI": os.environ["BENCH_RESULTS"],
    "FLASK_APP": "director._auto:app",
}

_YAML = f"""
bench.CHAIN:
  tasks: [FIRST{", ADD" * (CHAIN_LENGTH - 2)}, LAST]
"""

_TASKS = """
from celery import current_task
from director import task


@task(name="FIRST")
def first(*results, **named):
    return named["payload"]["value"] + 1


@task(name="ADD")
def add(*results, **named):
    return results[0] + 1


@task(name="LAST")
def last(*results, **named):
    return results[0] + 1


@task(name="SPREAD")
def spread(*results, **named):
    return list(range(named["payload"]["width"]))


@task(name="ITEM")
def item(*results, **named):
    return results[0][current_task.request.group_index] + 1


@task(name="TOTAL")
def total(*results, **named):
    return sum(results[0])
"""


def prepare() -> None:
    (folder() / ".env").write_text("")
    (folder() / "workflows.yml").write_text(_YAML)
    (folder() / "tasks").mkdir()
    (folder() / "tasks" / "bench.py").write_text(_TASKS)
    become(beside("flask"), "db", "upgrade")


def work() -> None:
    become(beside("celery"), "-A", "director._auto:cel", "worker", "--concurrency", "2", "--loglevel", "warning")


@cache
def _director() -> SimpleNamespace:
    """Its own modules, in the context of its app: they are there when its home is."""
    from director._auto import app  # noqa: PLC0415
    from director.api.workflows import _execute_workflow  # noqa: PLC0415
    from director.extensions import cel_workflows, db  # noqa: PLC0415
    from director.models import StatusType  # noqa: PLC0415
    from director.models.tasks import Task  # noqa: PLC0415
    from director.models.workflows import Workflow  # noqa: PLC0415

    app.app_context().push()
    return SimpleNamespace(execute=_execute_workflow, known=cel_workflows.workflows, db=db, status=StatusType, task=Task, workflow=Workflow)


@dataclass(frozen=True, slots=True)
class Pending:
    workflow: str
    last: str

    def result(self, timeout: float) -> Any:
        wait_until(self._over, timeout, f"workflow {self.workflow} has not ended")
        return _director().task.query.filter_by(workflow_id=self.workflow, key=self.last).one().result

    def _over(self) -> bool:
        of = _director()
        of.db.session.rollback()  # or it would look at one moment for ever
        status = of.workflow.query.filter_by(id=self.workflow).one().status
        if status in (of.status.error, of.status.canceled):
            raise RuntimeError(f"the workflow is {status.value}")
        return bool(status is of.status.success)


def _start(workflow: str, last: str, payload: dict[str, int]) -> Pending:
    told, _ = _director().execute("bench", workflow, payload)
    return Pending(told["id"], last)


def start_chain(value: int) -> Pending:
    return _start("CHAIN", "LAST", {"value": value})


def start_fan(width: int) -> Pending:
    items = {"ITEMS": {"type": "group", "tasks": ["ITEM"] * width}}
    _director().known.setdefault(f"bench.FAN_{width}", {"tasks": ["SPREAD", items, "TOTAL"]})
    return _start(f"FAN_{width}", "TOTAL", {"width": width})
