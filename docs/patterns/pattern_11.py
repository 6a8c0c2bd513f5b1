"""Implicit termination."""

from wfcelery import step, workflow


@step(name="house.heat")
def heat(degrees: int) -> int:
    return degrees


@step(name="house.light")
def light(rooms: int) -> int:
    return rooms


@workflow(name="open_the_house")
def pattern(degrees: int, rooms: int) -> None:
    heat(degrees)
    light(rooms)
