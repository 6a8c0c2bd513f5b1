"""The steps that the tests of authoring share."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from pydantic import BaseModel

from wfcelery import Failed, Workflow, adopt, step


class Line(BaseModel):
    sku: str


class Order(BaseModel):
    id: int
    sku: str
    quantity: int = 1
    total: Decimal
    express: bool = False
    coupon: str | None = None
    ship_at: datetime | None = None
    lines: list[Line] = []


@step
def reserve(sku: str, quantity: int) -> str:
    return f"{quantity} {sku}"


@step
def charge(order_id: int, amount: Decimal) -> str:
    return f"{order_id}: {amount}"


@step
def refund(order_id: int, amount: Decimal) -> str:
    return f"{order_id}: {amount}"


@step
def label(line: Line, size: str) -> str:
    return f"{line.sku}/{size}"


@step
def ship(order_id: int, paid: str, labels: list[str | Failed] | None = None) -> str:
    return f"{order_id} {paid} {labels}"


@step
def apologise(order_id: int, reason: str) -> None: ...


notify = adopt("shop.tasks.notify")


def tasks_of(workflow: Workflow[..., Any]) -> dict[str, Any]:
    """The tasks of a workflow's definition by their names."""
    return {task.name: task for task in workflow.definition.tasks}
