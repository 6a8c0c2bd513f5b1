"""Multi-choice."""

from wfcelery import either, step, when, workflow


@step(name="alarm.ambulance")
def ambulance(street: str) -> str:
    return f"an ambulance for {street}"


@step(name="alarm.brigade")
def brigade(street: str) -> str:
    return f"a fire engine for {street}"


@workflow(name="raise_alarm")
def pattern(street: str, hurt: bool, burning: bool) -> list[str | None]:
    with when(hurt):
        for_people = ambulance(street)
    with when(burning):
        for_houses = brigade(street)
    return [either(for_people, None), either(for_houses, None)]
