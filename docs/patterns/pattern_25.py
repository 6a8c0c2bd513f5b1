"""Cancel region."""

import time

from wfcelery import current_step, region, step, workflow


@step(name="keys.look")
def look(seconds: float) -> str:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        current_step().check_cancelled()
        time.sleep(0.05)
    return "nothing here"


@step(name="keys.draw")
def draw() -> str:
    return "a map of the garden"


@step(name="keys.remember")
def remember(seconds: float) -> str:
    time.sleep(seconds)
    return "in the car"


@step(name="keys.drive")
def drive(where: str) -> str:
    return f"they were {where}"


@workflow(name="look_for_the_keys")
def pattern(house: float, memory: float) -> str:
    with region("search") as search:
        indoors = look.options(name="house")(house)
        plan = draw.options(name="map", after=indoors)()
        look.options(name="garden", after=plan)(0)
    found = remember.options(cancels=search)(memory)
    return drive(found)
