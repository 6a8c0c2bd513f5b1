"""The app of the acceptance tests: what a team's `celery.py`, `tasks.py` and workflows look like in one file.

Every step notes in the ledger of effects that its body ran, under its idempotency key.
"""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from celery import Celery, Task
from sqlalchemy import NullPool, create_engine, text

import wfcelery
from tests.acceptance import composition  # noqa: F401 - its steps
from tests.acceptance.effects import Effects
from wfcelery import Failed, GiveUp, Retry, adopt, after, current_step, error, failed, once, sleep, sleep_until, step, timed_out, workflow

if "WFCELERY_TEST_CLOCK" in os.environ:
    AHEAD, RIGHT = float(os.environ["WFCELERY_TEST_CLOCK"]), time.time
    time.time = lambda: RIGHT() + AHEAD

app = Celery("acceptance", broker=os.environ["WFCELERY_TEST_BROKER_URL"])
app.conf.update(broker_connection_retry_on_startup=True, broker_connection_max_retries=None, result_backend=None)
wfcelery.install(app)

effects = Effects(Path(os.environ["WFCELERY_TEST_EFFECTS"]))


def did(name: str, note: str = "") -> None:
    """This body ran."""
    this = current_step()
    effects.record(this.key, name, this.attempt, note)


# ---- a chain on one queue, and one that changes queues ------------------------------------------------------------------


@step
def first(word: str) -> str:
    did("first")
    return f"{word}-1"


@step
def second(word: str) -> str:
    did("second")
    return f"{word}-2"


@step
def third(word: str) -> str:
    did("third")
    return f"{word}-3"


@workflow
def chain(word: str) -> str:
    return third(second(first(word)))


@workflow
def over_two_queues(word: str) -> str:
    return third(second.options(queue="other")(first(word)))


# ---- steps that take their time -----------------------------------------------------------------------------------------


@step
def slow(seconds: float) -> int:
    """Takes so long at its first attempt only, so that what follows a crash is quick."""
    did("slow")
    this = current_step()
    if this.attempt == 1:
        time.sleep(seconds)
    return this.attempt


@step
def stubborn(seconds: float) -> int:
    """Takes so long at each attempt."""
    did("stubborn")
    time.sleep(seconds)
    return current_step().attempt


@step
def watchful(seconds: float) -> str:
    """Takes so long, and ends when somebody cancels the run."""
    did("watchful")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        current_step().check_cancelled()
        time.sleep(0.1)
    return "not cancelled"


@step(retry=None)
def meet(many: int) -> int:
    """Ends when so many are here at the same time."""
    did("meet")
    deadline = time.monotonic() + 20
    while (here := len(effects.keys("meet"))) < many:
        assert time.monotonic() < deadline, "nobody else came"
        time.sleep(0.05)
    return here


@step(retry=None)
def linger(until: str) -> str:
    """Ends when that mark was made."""
    did("linger")
    deadline = time.monotonic() + 20
    while until not in {effect.note for effect in effects.all("mark")}:
        assert time.monotonic() < deadline, f"nobody marked {until}"
        time.sleep(0.05)
    return until


@workflow
def one_slow(seconds: float) -> int:
    return slow(seconds)


@workflow
def slow_in_the_middle(word: str, seconds: float) -> str:
    begun = first(word)
    waited = slow.options(after=begun)(seconds)
    return third.options(after=waited)(begun)


@workflow
def slow_at_the_end(word: str, seconds: float) -> int:
    return slow.options(after=second(first(word)))(seconds)


@workflow
def one_stubborn(seconds: float) -> int:
    return stubborn(seconds)


@workflow
def one_watchful(seconds: float) -> str:
    return watchful(seconds)


@step
async def snooze(seconds: float) -> str:
    did("snooze")
    await asyncio.sleep(seconds)
    return current_step().key


@workflow
def one_snooze(seconds: float) -> str:
    return snooze(seconds)


# ---- fan-outs -----------------------------------------------------------------------------------------------------------


@step
def square(number: int) -> int:
    did("square", str(number))
    return number * number


@step
def square_but_not_three(number: int) -> int:
    did("square_but_not_three", str(number))
    if number == 3:
        raise GiveUp("not three")
    return number * number


@step
def total(numbers: list[int]) -> int:
    did("total")
    return sum(numbers)


@step
def how_many_failed(results: list[int | Failed]) -> int:
    did("how_many_failed")
    return sum(isinstance(result, Failed) for result in results)


@step
def jostle(number: int) -> int:
    """Says when it comes and when it goes."""
    did("comes", str(number))
    time.sleep(0.01)
    did("goes", str(number))
    return number


@workflow
def five_at_a_time(many: int) -> int:
    return total(jostle.options(concurrency=5).map(numbers_to(many)))


@step
def numbers_to(many: int) -> list[int]:
    return list(range(many))


@workflow
def sum_of_squares(numbers: list[int]) -> int:
    return total(square.options(concurrency=50).map(numbers))


@workflow
def squares_with_a_failure(numbers: list[int]) -> int:
    return how_many_failed(square_but_not_three.options(on_error=Failed).map(numbers))


# ---- failures, retries, sleeps ------------------------------------------------------------------------------------------


@step(retry=Retry(count=3, delay="0.2s", backoff="constant", jitter=False))
def flaky(failures: int) -> int:
    did("flaky")
    attempt = current_step().attempt
    if attempt <= failures:
        raise ConnectionError("the other side hung up")
    return attempt


@step
def hopeless(reason: str) -> None:
    did("hopeless")
    raise GiveUp(reason)


@step
def apologise(reason: str) -> str:
    did("apologise")
    return f"sorry: {reason}"


@step(retry=Retry(count=1, delay="0.1s", jitter=False), timeout="0.6s")
def too_slow(seconds: float) -> str:
    did("too_slow")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.05)
    return "in time"


@step(retry=None, soft_timeout="0.5s")
def softly(seconds: float) -> str:
    did("softly")
    time.sleep(seconds)
    return "in time"


@step(retry=Retry(count=2, delay="0.1s", jitter=False))
def telling(secret: str) -> None:
    """Fails with the sort of message that exceptions have."""
    did("telling")
    with Path(f"/srv/shop/{len(secret)}/orders.csv").open():
        raise AssertionError


@step(retry=Retry(count=1, delay="0.1s", jitter=False))
def heals(flag: str) -> str:
    """Fails until somebody has repaired the world."""
    did("heals")
    if not Path(flag).exists():
        raise ConnectionError("still broken")
    return "healed"


@workflow
def one_too_slow(seconds: float) -> str:
    return too_slow(seconds)


@workflow
def too_slow_and_handled(seconds: float) -> None:
    late = too_slow(seconds)
    with after(timed_out(late)):
        apologise("too late")


@workflow
def one_softly(seconds: float) -> str:
    return softly(seconds)


@step(retry=None)
def shocked(secret: str) -> None:
    """Fails in a database driver, which quotes what it was given."""
    did("shocked")
    with create_engine(os.environ["WFCELERY_DATABASE_URL"], poolclass=NullPool).begin() as connection:
        connection.execute(text("select 1 / cast(:secret as int)"), {"secret": secret})


@workflow
def telling_tales(secret: str) -> None:
    telling(secret)


@workflow
def shock(secret: str) -> None:
    shocked(secret)


@workflow
def healing(word: str, flag: str) -> str:
    begun = first(word)
    return second(heals.options(after=begun)(flag))


@workflow
def retried(failures: int) -> int:
    return flaky(failures)


@workflow
def handled(reason: str) -> None:
    lost = hopeless(reason)
    with after(failed(lost)):
        apologise(error(lost).message)


@workflow
def doomed(reason: str) -> None:
    hopeless(reason)


@workflow
def nap(word: str) -> str:
    begun = first(word)
    rest = sleep("2s", after=begun)
    return second.options(after=rest)(begun)


# ---- effects in the database, and effects under a key ---------------------------------------------------------------------


def book(amount: int) -> int:
    """An effect of the app's own, in the table `bookings`, in the step's own transaction."""
    this = current_step()
    did("book", str(amount))
    this.connection.execute(text("insert into bookings (key, attempt, amount) values (:key, :attempt, :amount)"), vars_of(this, amount))
    return amount


def vars_of(this: Any, amount: int) -> dict[str, Any]:
    return {"key": this.key, "attempt": this.attempt, "amount": amount}


def level(wanted: Any) -> Any:
    """SQLite has one level alone; a test wants to be told so."""
    has_it = not os.environ["WFCELERY_DATABASE_URL"].startswith("sqlite") or "WFCELERY_TEST_EVERY_LEVEL" in os.environ
    return wanted if has_it else "serializable"


@step(transactional=True, isolation=level("read committed"))
def book_read_committed(amount: int) -> int:
    return book(amount)


@step(transactional=True, isolation=level("repeatable read"))
def book_repeatable_read(amount: int) -> int:
    return book(amount)


@step(transactional=True, isolation="serializable")
def book_serializable(amount: int) -> int:
    return book(amount)


@step(transactional=True)
def book_and_stay(amount: int, seconds: float) -> int:
    """Books, and at its first attempt stays in its transaction for so long."""
    booked = book(amount)
    if current_step().attempt == 1:
        time.sleep(seconds)
    return booked


@step(transactional=True, retry=Retry(count=1, delay="0.1s", jitter=False))
def book_and_fail(amount: int) -> int:
    """Books, and at its first attempt fails."""
    booked = book(amount)
    if current_step().attempt == 1:
        raise ConnectionError("the other side hung up")
    return booked


@workflow
def booked(amounts: list[int]) -> list[int]:
    one = book_read_committed.map(amounts)
    two = book_repeatable_read.options(after=one).map(amounts)
    return book_serializable.options(after=two).map(amounts)


@workflow
def booked_slowly(amount: int, seconds: float) -> int:
    return book_and_stay(amount, seconds)


@workflow
def booked_after_a_failure(amount: int) -> int:
    return book_and_fail(amount)


def ring_up(shop: str) -> str:
    effects.record("once", "ring_up", current_step().attempt, shop)
    return f"{shop} answers"


@step(retry=Retry(count=3, delay="0.1s", jitter=False))
def call_once(shop: str, failures: int) -> str:
    answer = once(f"call-{shop}", ring_up, shop)
    if current_step().attempt <= failures:
        raise ConnectionError("after the call")
    return answer


@workflow
def called_once(shop: str, failures: int) -> str:
    return call_once(shop, failures)


# ---- odds and ends ---------------------------------------------------------------------------------------------------------


@step
def mark(name: str) -> str:
    """Says that it was here."""
    did("mark", name)
    return name


@step
def echo(value: Any) -> Any:
    did("echo")
    return value


@step(retry=Retry(count=3, delay="0.1s", jitter=False, on_error="error.code == '503'", non_retryable=[PermissionError]))
def picky(kind: str) -> int:
    """Fails at first, with a code or with another error."""
    did("picky")
    if current_step().attempt == 1:
        failure: Exception = PermissionError("no") if kind == "forbidden" else ConnectionError("no")
        failure.code = kind  # type: ignore[attr-defined]
        raise failure
    return current_step().attempt


@workflow
def echoed(value: Any) -> Any:
    return echo(echo(value))


@workflow
def picked(kind: str) -> int:
    return picky(kind)


@workflow
def alarm(at: datetime) -> str:
    rung = sleep_until(at)
    return mark.options(after=rung)("rung")


@workflow
def watched_elsewhere(seconds: float) -> str:
    return watchful.options(queue="other")(seconds)


if "WFCELERY_TEST_NEWER" in os.environ:

    @step(name="tests.acceptance.app.newcomer")
    def newcomer(word: str) -> str:
        did("newcomer")
        return f"new {word}"


# ---- Celery tasks that were there before, unchanged ---------------------------------------------------------------------


class Accountable(Task):
    """A custom base class: its hooks are called as ever."""

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        effects.record(task_id, "on_success", self.request.retries + 1, str(retval))


def noted(task: Task, name: str) -> None:
    effects.record(task.request.id, name, task.request.retries + 1)


@app.task(bind=True, name="shop.auto", autoretry_for=(ConnectionError,), max_retries=2, retry_backoff=False, default_retry_delay=0.2)
def auto(self: Task, failures: int) -> int:
    noted(self, "auto")
    if self.request.retries < failures:
        raise ConnectionError("the other side hung up")
    return int(self.request.retries)


@app.task(bind=True, name="shop.by_hand", max_retries=3)
def by_hand(self: Task, failures: int) -> int:
    noted(self, "by_hand")
    if self.request.retries < failures:
        raise self.retry(countdown=0.2)
    return int(self.request.retries)


@app.task(bind=True, base=Accountable, name="shop.accountable")
def accountable(self: Task, amount: int) -> int:
    noted(self, "accountable")
    return amount + 1


@app.task(bind=True, name="shop.who")
def who(self: Task) -> dict[str, Any]:
    noted(self, "who")
    return {"id": self.request.id, "task": self.name, "retries": self.request.retries, "eager": self.request.is_eager}


@app.task(name="shop.later")
def later(at):  # type: ignore[no-untyped-def]
    """Un-annotated, and handed a datetime."""
    return at + timedelta(days=1)


@app.task(name="shop.ordinary")
def ordinary(word: str) -> str:
    """A neighbour that knows nothing of workflows."""
    effects.record("none", "ordinary", 1, word)
    return word


old_auto = adopt("shop.auto", returns=int)
old_by_hand = adopt("shop.by_hand", returns=int)
old_accountable = adopt("shop.accountable", returns=int)
old_who = adopt("shop.who", returns=dict)
old_later = adopt("shop.later", returns=datetime)


@workflow
def adopted(at: datetime) -> datetime:
    tried = old_auto(2)
    by_itself = old_by_hand.options(after=tried)(1)
    counted = old_accountable(by_itself)
    asked = old_who.options(after=counted)()
    return old_later.options(after=asked)(at)


EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
