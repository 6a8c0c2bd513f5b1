"""Transient trigger."""

from wfcelery import step, wait_event, workflow


@step(name="door.open")
def open_it(who: str) -> str:
    return f"come in, {who}"


@workflow(name="answer_the_door")
def pattern(house: str) -> str:
    who = wait_event("doorbell", key=house, keep=False, name="bell")
    return open_it.options(name="open")(who)
