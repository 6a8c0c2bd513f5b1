"""Why a run stands where it stands: each cause with what helps, as data. A pure function over what the tables say.

The command line prints these sentences; whoever else tells people of a run prints the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from wfcelery.core.attempts import INCOMPATIBLE
from wfcelery.core.gating import KINDS
from wfcelery.core.rows import NO_ITEM
from wfcelery.core.step_machine import PAUSED
from wfcelery.service.views import View
from wfcelery.store.circumstances import Circumstances, OpenWait
from wfcelery.store.reading import StepRecord, WorkerRecord

MOST_STEPS = 20  # causes that are told of steps; the rest is a number
SOON = timedelta(seconds=5)  # after which it is worth a word that nobody has done what was asked


class Cause(View):
    """One reason why a run goes no further, or goes on: since when, until when, and the command that helps, if one does.

    `kind` is a stable word: begins_later, nobody_begins, paused, ending, asked, put_aside, dead_letter, failed, ended, executing,
    lost, retry, parked, no_worker, no_code, queued, held, hold, limit, sleep, event, approval, child, items, blocked, more.
    """

    kind: str
    what: str
    run: str
    step: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    remedy: str | None = None
    more: Sequence[str] = ()  # other steps of which the same is true


def _cause(kind: str, what: str, run: str, step: str | None = None, **more: Any) -> Cause:
    return Cause(kind=kind, what=what, run=run, step=step, **more)


def causes(around: Circumstances) -> list[Cause]:
    """Every cause, the most telling first. Of a run that succeeded, none."""
    return [*_of_the_run(around), *_of_wishes(around), *_of_steps(around)]


# ---- the run ----------------------------------------------------------------------------------------------------------


def _of_the_run(around: Circumstances) -> Iterator[Cause]:
    run, id_ = around.run, str(around.run.id)
    for letter in around.letters:
        if letter.step is None:
            said = (letter.error or {}).get("message", "")
            yield _cause("put_aside", f"it was put aside: {said}", id_, since=letter.created_at, remedy=f"wfcelery dead retry {letter.id}")
    match run.status:
        case "pending":
            yield from _pending(around)
        case "paused":
            deed = next((deed for deed in reversed(around.deeds) if deed.verb == "pause"), None)
            by = f" by {deed.actor}" if deed is not None and deed.actor else ""
            remedy = f"wfcelery runs resume {id_}"
            yield _cause("paused", f"it is paused{by}: {run.reason}", id_, since=deed and deed.at, until=run.resume_at, remedy=remedy)
        case "cancelling":
            yield from _ending(around)
        case "failed" | "timed_out":
            yield from _failed(around)
        case "cancelled":
            yield _cause("ended", f"it was cancelled: {run.reason}", id_, since=run.ended_at)
        case _:
            pass


def _pending(around: Circumstances) -> Iterator[Cause]:
    run, id_ = around.run, str(around.run.id)
    if run.due_at is not None and run.due_at > around.now:
        yield _cause("begins_later", "it begins later, as whoever started it asked", id_, since=run.created_at, until=run.due_at)
    elif not any(worker.alive for worker in around.workers):
        yield _cause("nobody_begins", "no worker is alive to begin it", id_, since=run.created_at, remedy="wfcelery worker")
    else:
        yield _cause("queued", "it waits for a worker to begin it", id_, since=run.created_at)


def _ending(around: Circumstances) -> Iterator[Cause]:
    run, id_ = around.run, str(around.run.id)
    left = [step.name for step in around.steps if step.status in ("running", "reported") and step.item == NO_ITEM]
    what = f"it is being ended as {run.ending}: {run.reason}; what is still executed has until then to end: {', '.join(left) or 'items'}"
    yield _cause("ending", what, id_, until=run.due_at, remedy=f"wfcelery runs terminate {id_}")


def _failed(around: Circumstances) -> Iterator[Cause]:
    run, id_ = around.run, str(around.run.id)
    crowds = Counter(letter.name for letter in around.letters)
    told: set[str] = set()
    for letter in around.letters:
        if letter.step is None or letter.name in told:
            continue
        told.add(letter.name)
        error = letter.error or {}
        many = f" of {crowds[letter.name]} items" if letter.item != NO_ITEM and crowds[letter.name] > 1 else ""
        tries = f"{letter.attempts} attempt{'' if letter.attempts == 1 else 's'}"
        what = f"step {letter.name}{many} failed for good after {tries} ({letter.reason}): {error.get('type')}: {error.get('message')}"
        yield _cause("dead_letter", what, id_, letter.name, since=letter.created_at, remedy=f"wfcelery runs retry {id_}")
    if told:
        return
    error = run.error or {}
    if run.status == "timed_out":
        again = f"wfcelery runs retry {id_}"
        yield _cause("failed", "its deadline passed", id_, since=run.ended_at, remedy=again)
    else:
        what = f"it failed at {error.get('step') or 'its end'}: {error.get('type')}: {error.get('message')}"
        yield _cause("failed", what, id_, error.get("step"), since=run.ended_at)


def _of_wishes(around: Circumstances) -> Iterator[Cause]:
    old = [(fact, at) for fact, at in around.wishes if around.now - at > SOON]
    if old:
        facts = ", ".join(sorted({fact for fact, _ in old}))
        yield _cause(
            "asked", f"nobody has applied yet what was asked of it: {facts}", str(around.run.id), since=old[0][1], remedy="wfcelery doctor"
        )


# ---- steps ------------------------------------------------------------------------------------------------------------


def _of_steps(around: Circumstances) -> Iterator[Cause]:
    if around.run.ended_at is not None:
        return
    found = [cause for step in around.steps if step.item == NO_ITEM for cause in _of_step(around, step)]
    blocked = [step.name for step in around.steps if step.status == "blocked"]
    if blocked and not found:
        found.append(_cause("blocked", "it waits for steps before it", str(around.run.id), blocked[0], more=blocked[1:]))
    yield from found[:MOST_STEPS]
    if len(found) > MOST_STEPS:
        yield _cause("more", f"and {len(found) - MOST_STEPS} more steps", str(around.run.id))


def _of_step(around: Circumstances, step: StepRecord) -> Iterator[Cause]:
    match step.status:
        case "running" | "reported":
            yield _executing(around, step)
        case "ready":
            yield _ready(around, step)
        case "held" if step.why != PAUSED:
            yield _held(around, step)
        case "waiting" if step.items_left is not None:
            yield from _items(around, step)
        case "waiting":
            yield _waiting(around, step)
        case _:
            pass


def _held(around: Circumstances, step: StepRecord) -> Cause:
    """By a person, or at a gate that it has to pass."""
    id_, (word, _, key) = str(around.run.id), (step.why or "").partition(":")
    if word == "hold":
        return _cause("hold", f"step {step.name} is held, because somebody holds {key}", id_, step.name, remedy=f"wfcelery release {key}")
    if word in KINDS:
        return _cause("limit", f"step {step.name} waits for {word} {key}", id_, step.name, remedy="wfcelery limits list")
    return _cause("held", f"step {step.name} is held: {step.why}", id_, step.name)


def _executing(around: Circumstances, step: StepRecord) -> Cause:
    id_ = str(around.run.id)
    worker = next((worker for worker in around.workers if worker.id == step.claimed_by), None)
    where = "a worker that has gone" if worker is None else f"worker {worker.name}"
    if worker is None or not worker.alive:
        what = f"step {step.name} was executed by {where}, which does not answer; it is taken up again when its lease is over"
        return _cause("lost", what, id_, step.name, since=step.claimed_at, until=worker and worker.lease_until)
    what = f"step {step.name} is executed by {where}, attempt {step.attempt}"
    return _cause("executing", what, id_, step.name, since=step.claimed_at, until=step.deadline_at)


def _ready(around: Circumstances, step: StepRecord) -> Cause:
    id_, error = str(around.run.id), step.error or {}
    action = around.actions.get(step.name)
    if error.get("code") == INCOMPATIBLE:
        return _parked(around, step, action)
    if step.due_at is not None and step.due_at > around.now:
        said = f"{error.get('type')}: {error.get('message')}" if error else "its worker was lost" if step.lost else "it asked for that"
        return _cause(
            "retry", f"step {step.name} is tried again later, after attempt {step.attempt}: {said}", id_, step.name, until=step.due_at
        )
    serving = [worker for worker in around.workers if worker.alive and step.queue in worker.queues]
    if not serving:
        what = f"step {step.name} is ready, and no worker serves queue {step.queue}"
        return _cause("no_worker", what, id_, step.name, since=step.due_at, remedy=f"celery -A APP worker -Q {step.queue}")
    if action is not None and not any(action in worker.tasks for worker in serving):
        what = f"step {step.name} is ready, and no worker of queue {step.queue} knows {action}"
        return _cause("no_code", what, id_, step.name, since=step.due_at, remedy="deploy the code that has it")
    return _cause("queued", f"step {step.name} is ready and waits for a worker of queue {step.queue}", id_, step.name, since=step.due_at)


def _parked(around: Circumstances, step: StepRecord, action: str | None) -> Cause:
    error = step.error or {}
    lacking = [worker.name for worker in around.workers if _lacks(worker, step.queue, action)]
    by = f" ({', '.join(lacking)} {'lack' if len(lacking) > 1 else 'lacks'} it)" if lacking else ""
    what = f"step {step.name} cannot begin on the code that is deployed{by}: {error.get('message')}"
    remedy = f"deploy code that fits, or wfcelery runs skip {around.run.id} {step.name}"
    return _cause("parked", what, str(around.run.id), step.name, until=step.due_at, remedy=remedy)


def _lacks(worker: WorkerRecord, queue: str | None, action: str | None) -> bool:
    return worker.alive and queue in worker.queues and action is not None and action not in worker.tasks


def _items(around: Circumstances, step: StepRecord) -> Iterator[Cause]:
    items = [item for item in around.steps if item.item != NO_ITEM and item.name == step.name]
    counts = Counter(item.status for item in items if item.ended_at is None)
    words = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "none born yet"
    yield _cause("items", f"step {step.name} has {step.items_left} of {step.wants} items left: {words}", str(around.run.id), step.name)
    if counts["running"] == 0:
        first = next((item for item in items if item.status == "ready"), None)
        if first is not None:
            yield _ready(around, first)


def _waiting(around: Circumstances, step: StepRecord) -> Cause:
    id_ = str(around.run.id)
    child = next((child for parent, child in around.children if parent == step.id), None)
    found = next((wait for wait in around.waits if wait.step == step.id), None)
    if child is not None:
        since = None if found is None else found.since
        return _cause("child", f"step {step.name} waits for run {child}", id_, step.name, since=since, remedy=f"wfcelery runs why {child}")
    if found is None:
        return _cause("held", f"step {step.name} waits", id_, step.name)
    return _of_wait(found, step.name, id_)


def _of_wait(found: OpenWait, step: str, run: str) -> Cause:
    match found.kind:
        case "sleep":
            what, remedy = f"step {step} sleeps", f"wfcelery runs skip {run} {step}"
        case "event":
            key = "" if found.key is None else f" with key {found.key}"
            what, remedy = f"step {step} waits for event {found.name}{key}", f"wfcelery runs send-event {run} {found.name}"
        case "approval":
            what, remedy = f"step {step} waits for an approval", f"wfcelery approvals show {run} {step}"
        case _:
            what, remedy = f"step {step} waits for a {found.kind}", f"wfcelery runs skip {run} {step}"
    return _cause(found.kind, what, run, step, since=found.since, until=found.until, remedy=remedy)


def sentence(cause: Cause, now: datetime) -> str:
    """The cause as a line for people."""
    said = cause.what + (f" (and so do {', '.join(cause.more)})" if cause.more else "")
    if cause.since is not None:
        said += f", since {_ago(now - cause.since)}"
    if cause.until is not None and cause.until > now:
        said += f", until {cause.until:%Y-%m-%d %H:%M:%SZ} (in {_ago(cause.until - now)})"
    return said


def _ago(span: timedelta) -> str:
    seconds = max(span.total_seconds(), 0.0)
    for size, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {word}"
    return f"{seconds:.0f} s"
