"""A meter that is read for years: each run reads it once, and continues as a new one, so that no history grows without an end.

`meters.yaml` says the same in YAML. Both are one definition.
"""

from __future__ import annotations

from wfcelery import Concurrency, after, continue_as_new, sleep, step, when, workflow


@step
def read_meter(meter: str, reading: int) -> int:
    return reading + len(meter)


@workflow(version="1", concurrency=Concurrency("meter-{{ parameters.meter }}"))
def watch_meter(meter: str, reading: int = 0, until: int = 1_000_000, pause: str = "1h") -> int:
    seen = read_meter(meter, reading)
    rested = sleep(pause, name="rest", after=seen)
    with after(rested), when(seen < until):
        continue_as_new(meter=meter, reading=seen, until=until, pause=pause)
    return seen
