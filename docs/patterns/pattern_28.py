"""Blocking discriminator."""

import time

from wfcelery import expr, loop, step, workflow


@step(name="ward.look")
def look(patient: str, seconds: float) -> str:
    time.sleep(seconds)
    return f"{patient} is seen"


@step(name="ward.treat")
def treat(patient: str) -> str:
    return f"{patient} is treated"


@workflow(name="see_patient")
def see_patient(patient: str) -> str:
    seen = [look.options(name="doctor")(patient, 0), look.options(name="professor")(patient, 1)]
    return treat.options(after=seen, join=1)(patient)


@workflow(name="ward_round")
def pattern(patients: list[str]) -> str:
    return loop(see_patient, with_items=patients, max_rounds=100)(expr("item"))
