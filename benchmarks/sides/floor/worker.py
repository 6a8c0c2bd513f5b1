"""The floor's worker: run-ahead along a chain, groups of a fan-out's items, each author's task through Celery's own tracer."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from celery import Celery
from celery.app.trace import build_tracer

from benchmarks.sides.floor import statements, store
from benchmarks.sides.floor.bell import ring
from benchmarks.sides.floor.plans import OUT_AND_IN, Plan, plan_of

WINDOW = 16  # messages that a fan-out has under way at once
GROUP_SECONDS = 0.05  # a group of items is recorded at least this often
GROUP_ITEMS = 64  # and holds at most so many
BUDGET = 1.0  # seconds for which one message may carry on with items
DISPATCH, ITEMS = "floor.dispatch", "floor.items"

app = Celery("floor", broker=os.environ["BENCH_BROKER"])
app.conf.update(broker_connection_retry_on_startup=True, task_ignore_result=True)

_tracers: dict[str, Callable[..., Any]] = {}


@app.task(name="floor.add_one")
def add_one(value: int) -> int:
    return value + 1


@app.task(name="floor.spread")
def spread(width: int) -> list[int]:
    return list(range(width))


@app.task(name="floor.total")
def total(values: list[int]) -> int:
    return sum(values)


@dataclass(frozen=True, slots=True)
class Kept:
    """A step that this worker claimed, and the run as it wrote it last."""

    run: UUID
    plan: Plan
    version: int
    id: UUID
    name: str
    token: UUID
    given: Any


@app.task(name=DISPATCH)
def dispatch(run: str) -> None:
    """Begin a run and keep its first step, claimed in the same commit."""
    found = store.one(statements.LOOK, {"run": run})
    if found is None:
        return  # rung twice
    plan, given = plan_of(found[0]), json.loads(found[1])
    kept = Kept(UUID(run), plan, 1, store.new_id(), plan.first, store.new_token(), given)
    try:
        store.over_the_version(statements.BEGIN, _birth(kept, found[1]) | {"facts": _facts("run_started", plan.first)})
    except store.StaleError:
        return
    _run_ahead(kept)


def _run_ahead(kept: Kept) -> None:
    """A chain costs one commit a step and no message."""
    while True:
        step, output = kept.plan.steps[kept.name], _call(kept)
        ended = _end(kept, output)
        if step.then is None:
            store.over_the_version(statements.END_RUN, ended)
            return
        if step.fans_out:
            _fan_out(kept, ended, step.then, output)
            return
        after = Kept(kept.run, kept.plan, kept.version + 1, store.new_id(), step.then, store.new_token(), output)
        # The step's text is written twice, as this one's output and as the next one's input: as an engine does it.
        store.over_the_version(statements.END_AND_KEEP, ended | _birth(after, ended["output"]))
        kept = after


def _fan_out(kept: Kept, ended: dict[str, Any], name: str, values: list[int]) -> None:
    each, width = store.new_id(), len(values)
    items = {"ids": [store.new_id() for _ in values], "values": [store.encoded(value) for value in values]}
    store.over_the_version(statements.FAN_OUT, ended | items | {"next_id": each, "next": name, "width": width})
    ring(app, ITEMS, [(str(kept.run), str(each), name)] * min(WINDOW, width))


@app.task(name=ITEMS)
def work_off(run: str, each: str, name: str) -> None:
    """Groups of items, claimed by one statement and recorded by one, until none is left or the time of this message is over."""
    most, stop = 1, time.monotonic() + BUDGET
    task = plan_of(OUT_AND_IN).steps[name].task
    while time.monotonic() < stop:
        token = store.new_token()
        group = store.all_of(statements.CLAIM_ITEMS, {"each": each, "most": most, "token": token, "worker": _worker()})
        if not group:
            return
        began = time.monotonic()
        outputs = [store.encoded(_traced(task, json.loads(given), str(id_))) for id_, _, given in group]
        took = time.monotonic() - began
        recorded = {"run": run, "each": each, "token": token, "ids": [row[0] for row in group], "outputs": outputs}
        left, version = store.one(statements.END_ITEMS, recorded) or (None, None)
        if left == 0:
            _join(UUID(run), UUID(each), name, version)
            return
        most = min(GROUP_ITEMS, most * 2) if took < GROUP_SECONDS / 2 else max(1, most // 2)
    ring(app, ITEMS, [(run, each, name)])


def _join(run: UUID, each: UUID, name: str, version: Any) -> None:
    """Whoever records the last item keeps the step after the fan-out; its input is a reference, so nothing is copied."""
    plan = plan_of(OUT_AND_IN)
    then = plan.steps[name].then
    assert then is not None
    values = [json.loads(output) for (output,) in store.all_of(statements.RESULTS, {"each": each})]
    kept = Kept(run, plan, version + 1, store.new_id(), then, store.new_token(), values)
    born = _birth(kept, store.encoded({"results_of": name})) | {"version": version, "each": each}
    store.over_the_version(statements.JOIN, born | {"facts": _facts("items_over", name)})
    _run_ahead(kept)


def _birth(kept: Kept, text: str) -> dict[str, Any]:
    return {
        "run": kept.run,
        "next_id": kept.id,
        "next": kept.name,
        "next_token": kept.token,
        "worker": _worker(),
        "given": text,
    }


def _end(kept: Kept, output: Any) -> dict[str, Any]:
    return {
        "run": kept.run,
        "version": kept.version,
        "id": kept.id,
        "token": kept.token,
        "output": store.encoded(output),
        "facts": _facts("step_succeeded", kept.name),
    }


def _facts(what: str, step: str) -> str:
    return store.encoded([{"fact": what, "step": step, "attempt": 1, "worker": _worker()}])


def _call(kept: Kept) -> Any:
    return _traced(kept.plan.steps[kept.name].task, kept.given, str(kept.token))


def _traced(name: str, given: Any, id_: str) -> Any:
    """The author's task through Celery's own tracer: signals, request and logging as for any task."""
    tracer = _tracers.get(name)
    if tracer is None:
        tracer = _tracers[name] = build_tracer(name, app.tasks[name], app=app, eager=True, propagate=True)
    request = {"id": id_, "args": (given,), "kwargs": {}, "delivery_info": {}, "hostname": _worker(), "is_eager": True}
    return tracer(id_, (given,), {}, request).retval


def _worker() -> str:
    return f"w{os.getpid()}"
