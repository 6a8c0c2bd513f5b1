"""A sign-up: a mail with a link, and then whichever comes first: the click, or the end of our patience.

`signups.yaml` says the same in YAML. Both are one definition.
"""

from __future__ import annotations

from tasks import shop
from wfcelery import current_step, either, otherwise, race, sleep, step, text, wait_event, when, workflow


@step
def write_to(member: int, words: str) -> None:
    shop.send_mail(member, words, current_step().key)


@step
def open_account(member: int, how: str) -> str:
    return f"account {member}, {how}"


@step
def forget(member: int) -> str:
    return f"{member} is forgotten"


@workflow(version="1")
def sign_up(member: int, patience: str = "3d") -> str:
    asked = write_to.options(name="ask")(member, "Please confirm")
    with race(name="answer", after=asked) as answer:
        with answer.branch("clicked") as clicked:
            click = wait_event("confirmed", key=text("{}", member), name="click")
        with answer.branch("silent"):
            sleep(patience, name="silence")
    with when(clicked.won):
        account = open_account(member, click)
    with otherwise():
        gone = forget(member)
    return either(account, gone)
