"""An expense report: small ones are paid, of larger ones somebody in finance is asked, and nobody pays what was rejected.

`expenses.yaml` says the same in YAML. Both are one definition.
"""

from __future__ import annotations

from decimal import Decimal

from pydantic import BaseModel

from tasks import shop
from wfcelery import after, approval, current_step, error, failed, step, text, timed_out, when, workflow


class Note(BaseModel):
    account: str


class Expense(BaseModel):
    id: int
    by: str
    amount: Decimal


@step
def pay(expense: Expense) -> str:
    here = current_step()
    return shop.take_money(expense.id, expense.amount, here.key, here.attempt, "good").rpartition("-")[0]


@step
def refuse(expense: Expense, why: str) -> None:
    shop.send_mail(expense.id, f"Not paid: {why}", current_step().key)


@workflow(version="1")
def reimburse(expense: Expense) -> str:
    with when(expense.amount > 100):
        ok = approval(
            text("{} spent {}", expense.by, expense.amount),
            name="approve",
            assignees=["role:finance"],
            form=Note,
            remind="1d",
            escalate=[("3d", "role:cfo")],
            timeout="7d",
        )
    with after(failed(ok), timed_out(ok)):
        refuse(expense, error(ok).message)
    return pay.options(after=ok)(expense)
