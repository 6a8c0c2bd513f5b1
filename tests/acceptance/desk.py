"""The app of a team whose workflows ask people: an order of docs/how-to/approvals.md, and an invoice that events carry on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from celery import Celery
from pydantic import BaseModel, Field

import wfcelery
from wfcelery import ApprovalNotice, after, approval, error, failed, step, text, timed_out, wait_event, workflow

app = Celery("desk", broker=os.environ["WFCELERY_TEST_BROKER_URL"])
app.conf.update(broker_connection_retry_on_startup=True, result_backend=None)
wfcelery.install(app)

NOTICES = Path(os.environ["WFCELERY_TEST_EFFECTS"]).with_name("notices.jsonl")


class Order(BaseModel):
    id: int
    total: float


class Note(BaseModel):
    reason: str
    discount: int | None = Field(default=None, le=20)


@step(name="shop.charge")
def charge(order: int, why: str, by: str) -> str:
    return f"{order}: {why}, says {by}"


@step(name="shop.refuse")
def refuse(order: int, why: str) -> str:
    return f"{order}: {why}"


@workflow
def asked_in_python(order: Order) -> str:
    ok = approval(
        text("Order {} over {}", order.id, order.total),
        name="approve",
        assignees=["role:finance"],
        form=Note,
        remind="1s",
        escalate=[("1.5s", "role:cfo")],
        timeout="2d",
    )
    with after(failed(ok), timed_out(ok)):
        refuse(order.id, error(ok).message)
    return charge(order.id, ok.form.reason, ok.by)


@step
def book(created: dict[str, Any], approved: dict[str, Any]) -> str:
    return f"{created['number']} over {approved['amount']}"


@workflow
def invoice(number: str) -> str:
    created = wait_event("CreateInvoice", key=number, roles=["admin"], name="created")
    approved = wait_event("ApproveInvoice", key=number, roles=["manager"], name="approved", after=created)
    return book(created, approved)


def tell(notice: ApprovalNotice) -> None:
    """The setting `on_approval` of these tests."""
    with NOTICES.open("a", encoding="utf-8") as file:
        file.write(json.dumps([str(notice.run), notice.what, notice.title, notice.assignees]) + "\n")
