"""A trip: a flight, a room and a car are booked and paid for; where one cannot be had, the others are given back, the last first.

`trips.yaml` says the same in YAML. Both are one definition.
"""

from __future__ import annotations

from tasks import shop
from wfcelery import Compensate, GiveUp, Retry, current_step, step, workflow


@step
def book(trip: int, what: str, city: str) -> str:
    if city == "nowhere" and what == "car":
        raise GiveUp("there is no car in nowhere")
    return f"{what} in {city}"


@step(retry=Retry(count=2, delay="0.1s"))
def give_back(trip: int, what: str, city: str, result: str | None = None) -> None:
    shop.send_mail(trip, f"{what} is given back", current_step().key)


@step
def confirm(trip: int, booked: list[str]) -> str:
    return f"trip {trip}: {', '.join(booked)}"


@workflow(version="1")
def travel(trip: int, city: str) -> str:
    flight = book.options(name="flight", compensate=give_back)(trip, "flight", city)
    room = book.options(name="room", after=flight, compensate=Compensate(give_back, even_if_unknown=True))(trip, "room", city)
    car = book.options(name="car", after=room, compensate=give_back)(trip, "car", city)
    return confirm(trip, [flight, room, car])
