"""Structured synchronizing merge."""

from wfcelery import either, step, when, workflow


@step(name="hall.caterer")
def caterer(guests: int) -> str:
    return f"food for {guests}"


@step(name="hall.band")
def band(guests: int) -> str:
    return f"music for {guests}"


@step(name="hall.bill")
def bill(food: str | None, music: str | None) -> str:
    return " and ".join(each for each in (food, music) if each is not None) or "nothing"


@workflow(name="plan_a_party")
def pattern(guests: int, hungry: bool, dancing: bool) -> str:
    with when(hungry):
        food = caterer(guests)
    with when(dancing):
        music = band(guests)
    return bill(either(food, None), either(music, None))
