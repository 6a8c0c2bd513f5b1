"""Cancel multiple instance activity."""

import time

from wfcelery import current_step, sleep, step, workflow


@step(name="offers.ask")
def ask(seconds: float) -> float:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        current_step().check_cancelled()
        time.sleep(0.05)
    return seconds


@step(name="offers.choose")
def choose() -> str:
    return "chosen"


@workflow(name="ask_for_offers")
def pattern(answer_after: list[float], time: str) -> str:
    offers = ask.options(commit="each").map(answer_after)
    deadline = sleep(time, name="deadline")
    return choose.options(after=[offers, deadline], join=1, cancel_rest=True)()
