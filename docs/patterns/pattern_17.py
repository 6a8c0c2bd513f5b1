"""Interleaved parallel routing."""

import time

from wfcelery import expr, step, workflow


@step(name="clinic.examine")
def examine(what: str, seconds: float) -> dict[str, object]:
    began = time.time()
    time.sleep(seconds)
    return {"what": what, "began": began, "ended": time.time()}


@workflow(name="check_up")
def pattern(seconds: float) -> list[dict[str, object]]:
    patient = expr("system.run_id", type=str)
    weight = examine.options(name="weight", lock=patient)("weight", seconds)
    blood = examine.options(name="blood", lock=patient)("blood", seconds)
    bones = examine.options(name="bones", lock=patient, after=blood)("bones", seconds)
    return [weight, blood, bones]
