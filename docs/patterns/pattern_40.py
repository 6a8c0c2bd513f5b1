"""Interleaved routing."""

import time

from wfcelery import expr, step, workflow


@step(name="garage.work")
def work(what: str, seconds: float) -> dict[str, object]:
    began = time.time()
    time.sleep(seconds)
    return {"what": what, "began": began, "ended": time.time()}


@workflow(name="service_a_car")
def pattern(seconds: float) -> list[dict[str, object]]:
    car = expr("system.run_id", type=str)
    return [work.options(name=what, lock=car)(what, seconds) for what in ("oil", "brakes", "lights")]
