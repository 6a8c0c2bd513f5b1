"""The app of the tests of failures: steps that leave a line in the ledger, some of which fail, and what undoes them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery import Celery

import wfcelery
from tests.acceptance.effects import Effects
from wfcelery import Compensate, Failed, Retry, after, current_step, failed, sleep, step, workflow

app = Celery("undoing", broker=os.environ["WFCELERY_TEST_BROKER_URL"])
app.conf.update(broker_connection_retry_on_startup=True, broker_connection_max_retries=None, result_backend=None)
wfcelery.install(app)

effects = Effects(Path(os.environ["WFCELERY_TEST_EFFECTS"]))
NEVER, TWICE = Retry(count=0), Retry(count=2, delay="0.1s", backoff="constant", jitter=False)


def did(name: str, note: object = "") -> None:
    """This body ran, in this run."""
    effects.record(current_step().key, name, current_step().attempt, f"{current_step().run_id} {note}")


def _hang_once(name: str, where: str) -> None:
    """The first attempt of the one that is to be killed hangs, for as long as the test needs to find it."""
    if name == where and current_step().attempt == 1:
        time.sleep(60)


@step(retry=NEVER)
def undo(name: str, killed: str, result: str | None = None) -> None:
    did(f"undo {name}", result)
    _hang_once(f"undo {name}", killed)


@step(compensate=undo)
def make(name: str, killed: str) -> str:
    did(name)
    return f"made {name}"


@step(retry=NEVER)
def refuse(why: str) -> str:
    did("refuse")
    raise ValueError(why)


@step(retry=TWICE)
def stumble(times: int) -> int:
    did("stumble")
    if current_step().attempt <= times:
        raise ConnectionError("not yet")
    return current_step().attempt


@step
def seen(what: str | Failed) -> str:
    did("seen")
    return f"failed: {what.error.message}" if isinstance(what, Failed) else what


@step
def tell(ending: str, error: dict[str, Any] | None, killed: str = "") -> None:
    did(f"tell {ending}", (error or {}).get("message"))
    _hang_once("tell", killed)


@step
def close(ending: str) -> None:
    did(f"close {ending}")


@workflow(on_failure=tell, on_cancel=tell, on_complete=close)
def undone(killed: str) -> None:
    one = make.options(name="one")("one", killed)
    two = make.options(name="two", after=one)("two", killed)
    three = make.options(name="three", after=two)("three", killed)
    refuse.options(after=three)("no room")


@workflow(on_error="stop", on_failure=tell)
def stopped(killed: str = "") -> None:
    first = make.options(name="one")("one", killed)
    make.options(name="last", after=sleep("1h", name="sibling", after=first))("last", killed)
    refuse.options(after=first)("no room")


@workflow
def continued() -> str:
    return seen(refuse.options(on_error=Failed)("no room"))


@workflow
def retried(times: int) -> int:
    """Told per step: how often it is tried again, and what undoes it."""
    done = stumble.options(compensate=None)(times)
    with after(failed(done)):
        seen("too often")
    return done


@workflow
def unknown() -> None:
    """What has begun and has not succeeded is undone where that is asked for."""
    refuse.options(compensate=Compensate(tidy, even_if_unknown=True))("no room")


@step
def tidy(why: str, result: str | None = None) -> None:
    did("tidy", result)


@workflow(timeout="1.5s", on_failure=tell, on_complete=close)
def too_slow(killed: str = "") -> None:
    one = make.options(name="one")("one", killed)
    make.options(name="last", after=sleep("1h", name="nap", after=one))("last", killed)


@workflow(on_cancel=tell, on_complete=close)
def called_off(killed: str = "") -> None:
    one = make.options(name="one")("one", killed)
    make.options(name="last", after=sleep("1h", name="nap", after=one))("last", killed)
