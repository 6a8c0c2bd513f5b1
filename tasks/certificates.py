"""A certificate: ordered, then asked for again and again until the authority has signed it, with a rest between two rounds.

`certificates.yaml` says the same in YAML. Both are one definition.
"""

from __future__ import annotations

from pydantic import BaseModel

from wfcelery import expr, loop, step, workflow


class Order(BaseModel):
    number: str
    asked: int = 0
    signed: bool = False


@step
def order(host: str) -> Order:
    return Order(number=f"order of {host}")


@step
def look(placed: Order, before: Order | None) -> Order:
    """The authority takes its time: it signs when it is asked for the third time."""
    asked = 1 if before is None else before.asked + 1
    return Order(number=placed.number, asked=asked, signed=asked == 3)


@step
def deploy(host: str, signed: Order) -> str:
    return f"{host} after {signed.asked}"


@workflow(version="1")
def certify(host: str) -> str:
    placed = order(host)
    signed = loop(look, until=lambda found: found.signed, max_rounds=100, every="0.1s")(placed, expr("last"))
    return deploy(host, signed)
