"""The app of a chaos run: steps that keep a ledger outside of all faults, and workflows whose answer is known beforehand.

The rig copies this file into its folder as `chaos_app`, so that a worker of another commit has the same code. It needs
nothing of the tests. The ledger is a file of JSON lines that only grows; marks are files that only one process can make.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from celery import Celery
from sqlalchemy import text

import wfcelery
from wfcelery import GiveUp, Retry, after, current_step, error, failed, sleep, step, workflow
from wfcelery.core.draft import digest

FOLDER = Path(os.environ["WFCELERY_CHAOS_FOLDER"])
LEDGER, MARKS = FOLDER / "raw-effects.jsonl", FOLDER / "marks"

faulthandler.register(signal.SIGRTMIN, all_threads=True)  # a stuck run's dump asks every process where it is

RIGHT = time.time
if "WFCELERY_CHAOS_CLOCK" in os.environ:  # this process's clock is wrong by so many seconds
    AHEAD = float(os.environ["WFCELERY_CHAOS_CLOCK"])
    time.time = lambda: RIGHT() + AHEAD

app = Celery("chaos", broker=os.environ.get("WFCELERY_TEST_BROKER_URL", "memory://"))
app.conf.update(broker_connection_retry_on_startup=True, broker_connection_max_retries=None, result_backend=None)
wfcelery.install(app)


def tell(phase: str, name: str, item: int = -1, result: Any = None) -> None:
    """One line of the ledger, in one write."""
    this = current_step()
    line: dict[str, Any] = {
        "key": this.key,
        "run": this.run_id,
        "step": name,
        "item": item,
        "attempt": this.attempt,
        "token": str(this.token),
        "org": this.organization_id,
    }
    line |= {"phase": phase, "pid": os.getpid(), "at": RIGHT()}
    if phase == "ended":
        line["result"] = digest(result)
    file = os.open(LEDGER, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(file, (json.dumps(line) + "\n").encode())
    finally:
        os.close(file)


def mark(kind: str, number: int = 0) -> bool:
    """Whether this is the first to make this mark under the step's key; a process that dies has made it or has not."""
    this = current_step()
    place = MARKS / kind / f"{this.key}-{number}"
    place.parent.mkdir(parents=True, exist_ok=True)
    made = place.parent / f".{this.key}-{number}-{this.token}-{os.getpid()}"
    made.write_text(json.dumps({"key": this.key, "run": this.run_id, "attempt": this.attempt, "token": str(this.token)}))
    try:
        os.link(made, place)
    except FileExistsError:
        return False
    finally:
        made.unlink()
    return True


def failures() -> int:
    """How often this step has failed by its own will; an attempt that was lost is not among them."""
    key, folder = current_step().key, MARKS / "failed"
    number = 0
    while (folder / f"{key}-{number}").exists():
        number += 1
    return number


def name_of() -> str:
    return str(current_step().name)


# ---- steps ----------------------------------------------------------------------------------------------------------


@step
def add(word: str, letter: str) -> str:
    tell("begun", name_of())
    time.sleep(0.05)
    result = f"{word}-{letter}"
    tell("ended", name_of(), result=result)
    return result


@step
def join(left: str, right: str) -> str:
    tell("begun", name_of())
    result = f"({left})({right})"
    tell("ended", name_of(), result=result)
    return result


@step
def square(number: int) -> int:
    tell("begun", name_of(), number)
    tell("ended", name_of(), number, number * number)
    return number * number


@step
def total(numbers: list[int]) -> int:
    tell("begun", name_of())
    tell("ended", name_of(), result=sum(numbers))
    return sum(numbers)


@step(retry=Retry(count=4, delay="0.3s", backoff="constant", jitter=True))
def flaky(times: int) -> int:
    """Fails so often, and then says how often."""
    tell("begun", name_of())
    so_far = failures()
    if so_far < times:
        mark("failed", so_far)
        raise ConnectionError("the other side hung up")
    tell("ended", name_of(), result=times)
    return times


@step
def hopeless(reason: str) -> None:
    tell("begun", name_of())
    raise GiveUp(reason)


@step
def apologise(reason: str) -> str:
    tell("begun", name_of())
    result = f"sorry: {reason}"
    tell("ended", name_of(), result=result)
    return result


@step
def stay(seconds: float) -> float:
    """Takes its time at each attempt."""
    tell("begun", name_of())
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(min(0.2, max(0.0, deadline - time.monotonic())))
    tell("ended", name_of(), result=seconds)
    return seconds


@step
def watchful(seconds: float) -> str:
    """Takes its time, and ends when somebody cancels the run."""
    tell("begun", name_of())
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        current_step().check_cancelled()
        time.sleep(0.1)
    return "not cancelled"


@step
def once_outside(amount: int) -> int:
    """An effect elsewhere that is applied once under a key: the other side remembers it."""
    tell("begun", name_of())
    mark("applied")
    tell("ended", name_of(), result=amount)
    return amount


@step(transactional=True)
def book(amount: int) -> int:
    """An effect in the database of the tables, in the commit that reports the step."""
    this = current_step()
    tell("begun", name_of(), amount)
    values = {"key": this.key, "run": this.run_id, "name": name_of(), "item": amount, "attempt": this.attempt, "token": str(this.token)}
    this.connection.execute(
        text("insert into bookings (key, run, name, item, attempt, token) values (:key, :run, :name, :item, :attempt, :token)"), values
    )
    return amount


@step
def stamp(before: str, revision: int) -> str:
    tell("begun", name_of())
    result = f"{before}-{revision}" if before else str(revision)
    tell("ended", name_of(), result=result)
    return result


# ---- workflows --------------------------------------------------------------------------------------------------------


@workflow
def chain(word: str) -> str:
    return add(add(add(add(word, "a"), "b"), "c"), "d")


@workflow
def diamond(word: str) -> str:
    top = add(word, "t")
    return join(add(top, "l"), add(top, "r"))


@workflow
def fan(numbers: list[int]) -> int:
    return total(square.map(numbers))


@workflow
def narrow_fan(numbers: list[int]) -> int:
    return total(square.options(concurrency=4).map(numbers))


@workflow
def retried(times: int) -> int:
    return flaky(times)


@workflow
def doomed(reason: str) -> None:
    begun = add("x", "y")
    hopeless.options(after=begun)(reason)


@workflow
def handled(reason: str) -> None:
    lost = hopeless(reason)
    with after(failed(lost)):
        apologise(error(lost).message)


@workflow
def nap(word: str) -> str:
    begun = add(word, "a")
    rest = sleep("1s", after=begun)
    return add.options(after=rest)(begun, "b")


@workflow
def long(word: str, seconds: float) -> str:
    begun = add(word, "a")
    stayed = stay.options(after=begun)(seconds)
    return add.options(after=stayed)(begun, "b")


@workflow
def endless(word: str) -> str:
    """Ends only when somebody cancels it."""
    begun = add(word, "a")
    rest = sleep("10h", after=begun)
    return add.options(after=rest)(begun, "b")


@workflow
def watched(seconds: float) -> str:
    return watchful(seconds)


@workflow
def paid(amount: int) -> int:
    return once_outside(amount)


@workflow
def booked(amounts: list[int]) -> int:
    return total(book.map(amounts))


# ---- random graphs ------------------------------------------------------------------------------------------------------

NAMES = [f"t{number}" for number in range(12)]
NAMES += [f"{name}c{number}" for name in NAMES for number in range(3)]


class Refused(Exception):
    """A failure that no policy of a graph retries; they know it by this name."""


def _act(words: dict[str, list[str]], place: int, given: dict[str, Any]) -> dict[str, Any]:
    """A step of a random graph: fails as its definition's input says, and returns all that it was given."""
    name = name_of()
    tell("begun", name, place)
    so_far, told = failures(), words.get(str(place), [])
    word = told[so_far] if so_far < len(told) else "succeed"
    if word != "succeed":
        mark("failed", so_far)
        raise Refused("refused") if word == "refused" else GiveUp("fatal") if word == "fatal" else ConnectionError("told to fail")
    result = {"of": name if place < 0 else f"{name}[{place}]", "saw": given}
    tell("ended", name, place, result)
    return result


def _declare(name: str) -> None:
    @step(name=f"do.{name}", retry=None)
    def act(words: dict[str, Any], place: int = -1, given: Any = None) -> dict[str, Any]:
        return _act(words, place, given or {})


for _name in NAMES:
    _declare(_name)
