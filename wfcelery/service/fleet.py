"""The fleet as the database knows it: who is alive, what they serve, what nobody serves, and whether anybody sweeps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from wfcelery.authoring.registry import registry
from wfcelery.definition.model import Definition
from wfcelery.service.context import Context
from wfcelery.service.views import Finding, WorkerView
from wfcelery.store import fleet as stored
from wfcelery.store import migrations, reading, schedules

MOST_TOLD = 20
Route = Callable[[str, str | None], str]
"""The queue of an action, given what its definition says: the app's routes, where its code is at hand."""


def workers(context: Context) -> Sequence[WorkerView]:
    """Every worker that has a row, the oldest start first. Those whose lease is over are not alive."""
    with context.transaction() as tx:
        found = reading.workers(tx)
    return [
        WorkerView(
            id=str(row.id),
            name=row.name,
            host=row.host,
            process=row.process,
            alive=row.alive,
            lease_until=row.lease_until,
            started=row.started_at,
            executing=row.executing,
            queues=row.queues,
            tasks=len(row.tasks),
            build=row.build,
        )
        for row in found
    ]


def every_queue(context: Context, route: Route, defaults: Collection[str]) -> Sequence[str]:
    """Each queue that the app, its steps, the newest definitions or a run under way names."""
    with context.transaction() as tx:
        definitions = [Definition.model_validate_json(row.body) for row in stored.newest_definitions(tx)]
        named = {*stored.run_queues(tx), *stored.state(tx).waiting}
    for action, queue, _ in _actions(definitions):
        named.add(route(action, queue))
    return sorted({*defaults, *named, *(route(spec.name, None) for spec in registry.steps()), *_of_code()})


def examine(context: Context, route: Route | None = None, dispatch: str | None = None) -> Iterator[Finding]:
    """Everything that a fleet must have, each with what is wrong with it and the remedy.

    `route` and `dispatch` say where the app sends steps and wishes to begin; without them only what definitions
    and open rows name is known.
    """
    found, wanted = migrations.versions(context.database)
    if found != wanted:
        yield Finding(
            level="error", what=f"the tables are at {found or 'nothing'}, this release wants {wanted}", remedy="wfcelery db upgrade"
        )
        return
    yield Finding(level="ok", what=f"the tables are at {found}")
    with context.transaction() as tx:
        state = stored.state(tx)
        fleet = [row for row in reading.workers(tx) if row.alive]
        definitions = [Definition.model_validate_json(row.body) for row in stored.newest_definitions(tx)]
        failing = schedules.failing(tx, MOST_TOLD)
    yield Finding(level="ok", what=f"this database is known to its messages as {state.ns}")
    yield from _sweep(state, context.settings.poll)
    if not fleet:
        yield Finding(level="error", what="no worker is alive", remedy="celery -A APP worker, or wfcelery worker -A APP")
    for row in fleet:
        yield Finding(level="ok", what=f"worker {row.name} serves {', '.join(row.queues)} and knows {len(row.tasks)} tasks")
    yield from _queues(state, definitions, fleet, route, dispatch)
    yield from _tasks(definitions, fleet, route)
    yield from _builds(fleet)
    if state.letters:
        yield Finding(level="warning", what=f"{state.letters} dead letters are open", remedy="wfcelery dead list")
    for name, error in failing:
        yield Finding(
            level="error", what=f"schedule {name} cannot be started: {error.get('message')}", remedy=f"wfcelery schedules show {name}"
        )


def _sweep(state: stored.State, poll: float) -> Iterator[Finding]:
    remedy = "each worker sweeps, and so does celery -A APP beat: start one"
    if state.swept is None:
        yield Finding(level="error", what="nobody has ever swept this database", remedy=remedy)
    elif state.swept > max(10.0, 5 * poll):
        yield Finding(level="error", what=f"nobody has swept for {state.swept:.0f} s: timers, retries and lost workers wait", remedy=remedy)
    else:
        yield Finding(level="ok", what=f"the last sweep was {state.swept:.1f} s ago")


def _queues(
    state: stored.State, definitions: Sequence[Definition], fleet: Sequence[reading.WorkerRecord], route: Route | None, dispatch: str | None
) -> Iterator[Finding]:
    served = {queue for row in fleet for queue in row.queues}
    named: dict[str, str] = {} if dispatch is None else {dispatch: "wfcelery.dispatch"}
    for action, queue, place in _actions(definitions):
        found = route(action, queue) if route is not None else queue
        if found is not None:
            named.setdefault(found, place)
    if route is not None:
        for spec in registry.steps():
            named.setdefault(route(spec.name, None), f"step {spec.name}")
    for queue, count in state.waiting.items():
        named[queue] = f"{count} waiting {'step' if count == 1 else 'steps'}"
    for queue, place in sorted(named.items()):
        if queue not in served:
            yield Finding(
                level="error", what=f"no worker serves queue {queue}, named by {place}", remedy=f"celery -A APP worker -Q {queue}"
            )
    if served and not set(named) - served:
        yield Finding(level="ok", what=f"each of {len(named)} queues is served" if named else "no definition names a queue")


def _tasks(definitions: Sequence[Definition], fleet: Sequence[reading.WorkerRecord], route: Route | None) -> Iterator[Finding]:
    if not fleet:
        return
    missing: dict[str, str] = {}
    for action, queue, place in _actions(definitions):
        asked = route(action, queue) if route is not None else queue
        servers = [row for row in fleet if asked is None or asked in row.queues]
        lacking = sorted(row.name for row in servers if action not in row.tasks)
        if servers and lacking and action not in missing:
            missing[action] = f"{', '.join(lacking)} {'lack' if len(lacking) > 1 else 'lacks'} {action}, used by {place}"
    for what in missing.values():
        yield Finding(level="error", what=what, remedy="deploy the code that has it, or alias its new name: @step(aliases=[...])")
    if not missing:
        yield Finding(level="ok", what="every worker knows the steps of its queues")


def _builds(fleet: Sequence[reading.WorkerRecord]) -> Iterator[Finding]:
    builds = sorted({row.build for row in fleet})
    if len(builds) > 1:
        yield Finding(level="warning", what=f"workers of several releases of wfcelery are alive: {', '.join(builds)}")


def _actions(definitions: Sequence[Definition]) -> Iterator[tuple[str, str | None, str]]:
    """(action, the queue it is given, where) of every task."""
    for definition in definitions:
        for task, _ in definition.every_task():
            if task.action:
                yield task.action, task.queue, f"{task.name} of {definition.name}"


def _of_code() -> set[str]:
    return {task.queue for workflow in registry.workflows() for task, _ in workflow.definition.every_task() if task.queue}
