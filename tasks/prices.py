"""A supplier's price list, read each night: most of it is good, some lines are not, and a list that is mostly bad is refused.

`prices.yaml` says the same in YAML. Both are one definition.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from pydantic import BaseModel

from wfcelery import Failed, GiveUp, after, batched, error, fail, failed, step, workflow


class Price(BaseModel):
    sku: str
    amount: str


class Summary(BaseModel):
    loaded: int
    refused: int
    total: Decimal


@step
def read(text: str) -> list[Price]:
    lines = (line.partition("=") for line in text.split())
    return [Price(sku=sku, amount=amount) for sku, _, amount in lines]


@step
def load(prices: Sequence[Price]) -> list[Decimal]:
    """Store one batch of prices, all of them or none."""
    try:
        return [Decimal(price.amount) for price in prices]
    except InvalidOperation as problem:
        raise GiveUp("a price is no number") from problem


@step
def summarize(batches: Sequence[list[Decimal] | Failed]) -> Summary:
    good = [batch for batch in batches if not isinstance(batch, Failed)]
    amounts = [amount for batch in good for amount in batch]
    return Summary(loaded=len(amounts), refused=len(batches) - len(good), total=sum(amounts, Decimal(0)))


@workflow(version="1")
def take_prices(text: str) -> Summary:
    prices = read(text)
    loaded = load.options(filter=lambda price: price.sku != "#", tolerate="50%", concurrency=8).map(batched(prices, 2))
    with after(failed(loaded)):
        fail(error(loaded).message, code="bad_list", name="refused")
    return summarize(loaded)
