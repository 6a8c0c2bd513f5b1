"""Synchronization."""

from wfcelery import step, workflow


@step(name="contract.by_law")
def by_law(text: str) -> str:
    return f"{text} is lawful"


@step(name="contract.by_price")
def by_price(text: str) -> str:
    return f"{text} is cheap"


@step(name="contract.seal")
def seal(one: str, other: str) -> str:
    return f"{one}, {other}"


@workflow(name="sign_contract")
def pattern(text: str) -> str:
    return seal(by_law(text), by_price(text))
