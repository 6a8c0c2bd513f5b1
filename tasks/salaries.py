"""Salaries of a month: everybody who is still to be paid is, each once, in the order of the list.

`salaries.yaml` says the same in YAML. Both are one definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from pydantic import BaseModel

from tasks import shop
from wfcelery import Retry, current_step, not_, step, workflow


class Person(BaseModel):
    id: int
    salary: Decimal
    paid: bool = False


@step(retry=Retry(count=2, delay="0.1s", backoff="constant"))
def pay(person: Person, month: str) -> str:
    """The bank is busy the first time that it is asked for a person whose number is odd."""
    here = current_step()
    card = "busy" if person.id % 2 else "good"
    return shop.take_money(person.id, person.salary, here.key, here.attempt, card).rpartition("-")[0] + f"-{month}"


@step
def tell(receipts: Sequence[str | None]) -> list[str]:
    return [receipt for receipt in receipts if receipt is not None]


@workflow(version="1")
def pay_salaries(people: list[Person], month: str) -> list[str]:
    return tell(pay.options(when=lambda person: not_(person.paid), concurrency=4).map(people, month=month))
