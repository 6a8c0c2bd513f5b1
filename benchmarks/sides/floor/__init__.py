"""The floor: wfcelery's hot path without its engine, to see what the engine costs.

Real Celery on prefork children and its tracer, real PostgreSQL and psycopg, Redis as a bell. Kept is what costs time and
what the promises need: the run's row with its version, step rows with token and claim, a history row a commit, inputs and
outputs in the rows, the same indexes on what the sweep would look for, one durable commit a step, groups in fan-outs.
Left out: definitions, expressions, retries, timers, limits, organizations, leases, sweeps, cancels; a lost message or a dead
child would be noticed by nobody. Where another writer came between, it stops: the one run's locked road is not here.
"""

from __future__ import annotations

from uuid import UUID

from benchmarks.sides.floor import plans, store
from benchmarks.sides.floor.bell import ring
from benchmarks.sides.floor.worker import DISPATCH, app

__all__ = ["app", "start_chain", "start_fan", "start_long_chain"]


class Pending:
    """A run under way."""

    def __init__(self, run: UUID) -> None:
        self._run = run

    def result(self, timeout: float) -> int:
        return store.result(self._run, timeout)


def start_chain(value: int) -> Pending:
    return _start(plans.TEN_IN_A_ROW, value)


def start_fan(width: int) -> Pending:
    return _start(plans.OUT_AND_IN, width)


def start_long_chain(length: int) -> Pending:
    return _start(plans.in_a_row(length), 0)


def _start(workflow: str, value: int) -> Pending:
    run = store.start(workflow, value)
    ring(app, DISPATCH, [(str(run),)])
    return Pending(run)
