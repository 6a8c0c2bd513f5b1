"""Cancel task."""

import time

from wfcelery import cancelled, current_step, step, succeeded, workflow


@step(name="applicant.read")
def read(seconds: float) -> str:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        current_step().check_cancelled()
        time.sleep(0.05)
    return "nothing"


@step(name="applicant.ask")
def ask() -> int:
    return 900


@step(name="applicant.decide")
def decide(balance: int) -> str:
    return "accepted" if balance > 0 else "refused"


@workflow(name="check_an_applicant")
def pattern(seconds: float) -> str:
    press = read.options(name="press")(seconds)
    balance = ask.options(name="bank")()
    return decide.options(after=[succeeded(press), cancelled(press)])(balance)
