"""Persistent trigger."""

from wfcelery import step, wait_event, workflow


@step(name="post.read")
def read(text: str) -> str:
    return f"it says {text}"


@workflow(name="read_the_post")
def pattern(house: str) -> str:
    letter = wait_event("letter", key=house, timeout="1h", name="letter")
    return read(letter)
