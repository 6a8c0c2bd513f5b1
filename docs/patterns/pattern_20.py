"""Cancel case."""

import time

from wfcelery import step, workflow


@step(name="loan.examine")
def examine(seconds: float) -> str:
    time.sleep(seconds)
    return "sound"


@step(name="loan.grant")
def grant(verdict: str) -> str:
    return f"granted: {verdict}"


@workflow(name="ask_for_a_loan")
def pattern(seconds: float) -> str:
    return grant(examine(seconds))
