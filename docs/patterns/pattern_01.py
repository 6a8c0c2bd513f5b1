"""Sequence."""

from wfcelery import step, workflow


@step(name="post.write")
def write(to: str) -> str:
    return f"Dear {to}"


@step(name="post.stamp")
def stamp(letter: str) -> str:
    return f"{letter}, stamped"


@workflow(name="send_letter")
def pattern(to: str) -> str:
    return stamp(write(to))
