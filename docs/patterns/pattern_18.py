"""Milestone."""

import time

from wfcelery import sleep, step, workflow


@step(name="train.book")
def book(seconds: float) -> str:
    time.sleep(seconds)
    return "seat 1"


@step(name="train.leave")
def leave() -> str:
    return "gone"


@step(name="train.change")
def change() -> str:
    return "seat 2"


@workflow(name="change_a_seat")
def pattern(booking: float, leaves_in: str, asked: str) -> str | None:
    booked = book(booking)
    gone = leave.options(after=sleep(leaves_in, name="boarding", after=booked))()
    question = sleep(asked, name="question")
    return change.options(after=question, when_reached=booked, unless_reached=gone)()
