"""A machine for runs that begin other runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

from tests.engine.machine import Machine
from tests.store.rows import look
from wfcelery.authoring.yaml import load_yaml
from wfcelery.core.decision import RingRun
from wfcelery.definition.bodies import bodies_of
from wfcelery.definition.model import canonical_json, signature
from wfcelery.engine.ports import Call, Outcome
from wfcelery.service.verifying import problems_of
from wfcelery.store import definitions
from wfcelery.store.database import Database, SQLAlchemyTx
from wfcelery.store.inbox import put
from wfcelery.store.verifying import every_evidence

Meanwhile = Callable[[Machine, Call], Outcome | None]


class Family(Machine):
    """A machine that knows more definitions than that of its run, and looks at every run there is."""

    def __init__(self, database: Database, text: str, *others: str, meanwhile: Meanwhile | None = None) -> None:
        super().__init__(database, text, meanwhile)
        with database.transaction() as tx:
            for each in (text, *others):
                whole = load_yaml(each)
                for one in (*bodies_of(whole), whole):
                    definitions.store(tx, signature(one), one.name, one.version, canonical_json(one))

    def rest(self) -> None:
        """Work until nothing rings any more."""
        self.rings.append(RingRun("default", self.run, "celery"))
        self.answer()

    def end_all(self, seconds: float = 20.0) -> None:
        """Work until every run has ended."""
        deadline = time.monotonic() + seconds
        self.rings.append(RingRun("default", self.run, "celery"))
        while look(self.database, "select id from wf_run where ended_at is null") and time.monotonic() < deadline:
            self._turn()

    def tell(self, workflow: str, fact: str, **data: object) -> None:
        """A fact for the newest run of a workflow, from outside."""
        run = self.newest(workflow)
        with self.database.engine.connect() as connection, connection.begin():
            put(SQLAlchemyTx(connection), "default", run, fact, {"reason": "a test", "by": None, **data})
        self.rings.append(RingRun("default", run, "celery"))

    def newest(self, workflow: str) -> UUID:
        """The id of the newest run of a workflow."""
        (found,) = look(self.database, "select id from wf_run where workflow = :name order by created_at desc limit 1", name=workflow)[0]
        return found if isinstance(found, UUID) else UUID(found)

    def runs(self) -> list[tuple[str, str, int]]:
        """Every run as workflow, status and depth, the oldest first."""
        said = "select workflow, status, depth from wf_run order by depth, created_at"
        return [(name, status, depth) for name, status, depth in look(self.database, said)]

    def steps(self, workflow: str) -> dict[str, str]:
        """How the steps of the newest run of a workflow stand."""
        run = self.newest(workflow)
        found = [run.hex if self.database.dialect == "sqlite" else run]
        return dict(look(self.database, "select name, status from wf_step where run = :run and item = -1", run=found[0]))

    def all_problems(self) -> list[str]:
        """What the invariants say of any run."""
        return [str(problem) for found in every_evidence(self.database) for problem in problems_of(found)]
