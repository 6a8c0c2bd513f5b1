"""Small steps and workflows, one for each thing that is shown."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery import Celery

import wfcelery
from tests.acceptance.effects import Effects
from wfcelery import GiveUp, Retry, RetryLater, current_step, once, sleep, step, workflow

app = Celery("promises", broker=os.environ["WFCELERY_TEST_BROKER_URL"])
app.conf.update(broker_connection_retry_on_startup=True, result_backend=None, task_routes={"tests.promises.app.routed": "by-route"})
wfcelery.install(app)

effects = Effects(Path(os.environ["WFCELERY_TEST_EFFECTS"]))


def did(name: str, note: str = "") -> None:
    """This body ran."""
    this = current_step()
    effects.record(this.key, name, this.attempt, note)


@step
def double(number: int) -> int:
    did("double", str(number))
    return 2 * number


@step
def advance(cursor: int) -> int:
    return cursor + 1


@step
def echo(value: Any) -> Any:
    did("echo")
    return value


@step
def slow(seconds: float) -> float:
    did("slow")
    time.sleep(seconds)
    return seconds


@step
def hopeless(reason: str) -> None:
    did("hopeless", reason)
    raise GiveUp(reason)


@step(retry=Retry(count=3, delay="0.05s", backoff="constant", jitter=False))
def always_failing(reason: str) -> None:
    did("always_failing", reason)
    raise ConnectionError(reason)


@step
def hopeful(reason: str) -> None:
    did("hopeful", reason)
    raise ConnectionError(reason)


@step
def fails_once(delay: str) -> int:
    did("fails_once")
    if current_step().attempt == 1:
        raise RetryLater(delay)
    return 2


@step
def routed(word: str) -> str:
    did("routed")
    return word


@step(queue="papers")
def described(number: int, word: str = "x") -> str:
    """Writes a word so many times.

    And no more often.
    """
    return word * number


@workflow
def routed_once(word: str) -> str:
    return routed(word)


@workflow
def slow_one(seconds: float) -> float:
    return slow(seconds)


@workflow
def failing_once(delay: str) -> int:
    return fails_once(delay)


@workflow
def napping(seconds: float | str) -> int:
    rest = sleep(seconds)
    return double.options(after=rest)(1)


@workflow
def double_twice(number: int) -> int:
    return double(double(number))


@workflow
def failing(reason: str) -> None:
    always_failing(reason)


# ---- a key, and a function that answers once a flag is up ----------------------------------------------------------------


def answer(shop: str, flag: str) -> str:
    did("answer", shop)
    while not Path(flag).exists():
        time.sleep(0.02)
    return f"{shop} answers by {os.getpid()} at {time.time()!r}"


@step
def ask_once(shop: str, flag: str) -> str:
    return once(f"call-{shop}", answer, shop, flag)


@workflow
def answered_once(shop: str, flag: str) -> str:
    return ask_once(shop, flag)


# ---- one step in two releases of the app ---------------------------------------------------------------------------------


if os.environ.get("WFCELERY_TEST_RELEASE") == "2":

    @step(name="tests.promises.app.bill", queue="billing")
    def bill(amount: int, currency: str) -> str:
        return f"{amount} {currency}"

    @workflow(name="billing", version="2")
    def billing(amount: int) -> str:
        return bill(amount, "EUR")

else:

    @step(name="tests.promises.app.bill", queue="billing")
    def bill(amount: int) -> str:
        return str(amount)

    @workflow(name="billing", version="1")
    def billing(amount: int) -> str:
        return bill(amount)


if os.environ.get("WFCELERY_TEST_RELEASE") == "2":

    @step
    def newcomer(word: str) -> str:
        did("newcomer", word)
        return word


# ---- many items ----------------------------------------------------------------------------------------------------------


@step(retry=None)
def sound(part: int, flag: str) -> int:
    """Part 7 is broken until a flag is up."""
    if part == 7:
        did("sound", str(part))
        if not Path(flag).exists():
            raise ValueError("it has a crack")
    return part


@workflow
def inspected(parts: int, flag: str) -> int:
    return counted(sound.options(concurrency=50).map(numbered(parts), flag=flag))


@step
def numbered(many: int) -> list[int]:
    return list(range(many))


@step
def counted(parts: list[int]) -> int:
    assert parts == list(range(len(parts)))
    return len(parts)
