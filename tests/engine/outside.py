"""A machine with any number of runs of one workflow, and somebody outside who sends events."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from tests.engine.machine import LEASE, Machine
from tests.store.rows import change, look, started
from wfcelery.core.decision import RingRun
from wfcelery.definition.values import dumps, loads
from wfcelery.service import sending
from wfcelery.service.context import Context
from wfcelery.store import leases
from wfcelery.store.database import Database


class Outside(Machine):
    """Sends what its runs wait for."""

    def __init__(self, database: Database, text: str, **given: Any) -> None:
        super().__init__(database, text)
        [(self.signature,)] = look(database, "select definition from wf_run where id = :run", run=self.run)
        change(database, "update wf_run set input = :given where id = :run", given=dumps({"order": 7} | given), run=self.run)
        self.context = Context(database, self.runtime.settings, bell=self)
        self.begin(self.run)

    def another(self, **given: Any) -> UUID:
        """One more run, begun."""
        run = started(self.database, definition=self.signature, input=dumps({"order": 7} | given))
        self.begin(run)
        return run

    def begin(self, run: UUID) -> None:
        """Work off a ring for this run and all that comes of it."""
        self.rings.append(RingRun("default", run, "celery"))
        self.answer()

    def send(self, name: str, data: Any = None, **more: Any) -> UUID:
        """Send an event, and lose its rings."""
        return sending.send(self.context, sending.Wish(name, data, **more), {})

    def settle(self) -> None:
        """Sweep and answer until nothing moves."""
        while True:
            with self.database.transaction() as tx:
                leases.renew(tx, self.worker, self.tokens.keys(), LEASE)
            if not self.sweep().found() and not self.rings:
                return
            self.answer()

    def steps(self, run: UUID | None = None) -> dict[str, str]:
        """The status of each task that has a row."""
        return dict(look(self.database, "select name, status from wf_step where run = :run and item = -1", run=run or self.run))  # type: ignore[arg-type]

    def worth(self, step: str, run: UUID | None = None) -> Any:
        """What a step was worth."""
        [(text,)] = look(self.database, "select output from wf_step where run = :run and name = :step", run=run or self.run, step=step)
        return loads(text)

    def event(self, event: UUID) -> str:
        """How an event stands."""
        [(status,)] = look(self.database, "select status from wf_event where id = :event", event=event)
        return str(status)

    def shift(self, table: str, row: UUID, column: str, seconds: float) -> None:
        """Move a time of a row, by SQL: the time it would have if it had happened then."""
        key = "step" if table == "wf_wait" else "id"
        moved = f"{column} + :seconds" if self.database.dialect == "sqlite" else f"{column} + make_interval(secs => :seconds)"
        change(self.database, f"update {table} set {column} = {moved} where {key} = :row", row=row, seconds=seconds)

    def step_id(self, step: str, run: UUID | None = None) -> UUID:
        """The id of a task's row."""
        [(found,)] = look(self.database, "select id from wf_step where run = :run and name = :step", run=run or self.run, step=step)
        return found if isinstance(found, UUID) else UUID(found)
