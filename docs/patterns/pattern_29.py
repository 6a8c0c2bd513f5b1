"""Cancelling discriminator."""

import time

from wfcelery import step, workflow


@step(name="search.look")
def look(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@step(name="search.tell")
def tell(whom: str) -> str:
    return f"found, {whom}"


@workflow(name="search_in_two_places")
def pattern(whom: str, here: float, there: float) -> str:
    first = look.options(name="here")(here)
    second = look.options(name="there")(there)
    return tell.options(after=[first, second], join=1, cancel_rest=True)(whom)
