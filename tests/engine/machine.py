"""One worker of the engine in this process: the real engine and store, a bell that is a list, slots that are a set."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.store.rows import look, started, working
from wfcelery.authoring.yaml import load_yaml
from wfcelery.core.decision import Ring, RingRun
from wfcelery.definition.bodies import bodies_of
from wfcelery.definition.model import canonical_json, signature
from wfcelery.engine import executing
from wfcelery.engine.ports import Call, Outcome, Policy, Returned
from wfcelery.engine.runtime import Runtime
from wfcelery.engine.sweeping import Sweep
from wfcelery.service.verifying import problems_of
from wfcelery.settings import Settings
from wfcelery.store import definitions, leases
from wfcelery.store.database import Database, SQLAlchemyTx, Tx
from wfcelery.store.failures import CommitUnknown
from wfcelery.store.inbox import put
from wfcelery.store.verifying import evidence

LEASE = 0.15


class Machine:
    """A worker with one child, and all that is around it."""

    def __init__(self, database: Database, text: str, meanwhile: Callable[[Machine, Call], Outcome | None] | None = None) -> None:
        self.database, self.meanwhile = database, meanwhile
        self.calls: Counter[str] = Counter()
        self.tokens: Counter[UUID] = Counter()
        self.rings: list[Ring] = []
        self.keeps = True
        self.worker = working(database, uuid4(), lease=LEASE)
        shorter = {"lease": LEASE, "poll": 0.05, "ring_again": 0.05}  # than anybody may set them
        settings = Settings().model_copy(update={**shorter, "run_ahead": 600.0})
        self.runtime = Runtime(database, settings, self, self, self, self)
        self.sweep = Sweep(self.runtime, cleaned=time.monotonic())  # so that it forgets no worker whose lease is as short
        definition = load_yaml(text)
        with database.transaction() as tx:
            for one in (*bodies_of(definition), definition):
                definitions.store(tx, signature(one), one.name, one.version, canonical_json(one), strict=False)
        self.run = started(database, definition=signature(definition), input="{}")

    def work(self, seconds: float = 20.0) -> str:
        """Work off what rings, renew and sweep, until the run has ended; gives its status, or where it hangs."""
        self.rings.append(RingRun("default", self.run, "celery"))
        deadline = time.monotonic() + seconds
        while (status := self.status()) not in ("succeeded", "failed", "cancelled") and time.monotonic() < deadline:
            with suppress(CommitUnknown):  # as the worker's task and its keeper survive it
                self._turn()
        return status

    def _turn(self) -> None:
        with self.database.transaction() as tx:
            leases.renew(tx, self.worker, self.tokens.keys(), LEASE)
        self.sweep()
        if not self.rings:
            time.sleep(0.02)
        self.answer()

    def answer(self) -> None:
        """Work off what rings, and look for nothing else."""
        while self.rings:
            self.answer_one()

    def answer_one(self) -> None:
        """Work off the oldest ring."""
        ring = self.rings.pop(0)
        if isinstance(ring, RingRun):
            executing.dispatch(self.runtime, ring.organization_id, ring.run)
        else:
            executing.execute(self.runtime, ring.organization_id, ring.step)

    def status(self) -> str:
        [(status,)] = look(self.database, "select status from wf_run where id = :run", run=self.run)
        return str(status)

    def problems(self) -> list[str]:
        """What the invariants say of the run's rows."""
        found = evidence(self.database, self.run)
        assert found is not None
        return list(problems_of(found))

    def put(self, fact: str, **data: Any) -> None:
        """A fact from outside, for the run's inbox; on a connection that is never cut."""
        with self.database.engine.connect() as connection, connection.begin():
            put(SQLAlchemyTx(connection), "default", self.run, fact, data)

    # ---- what the engine asks of the world ---------------------------------------------------------------------------

    def policy(self, action: str) -> Policy:
        return Policy()

    def call(self, call: Call) -> Outcome:
        assert self.tokens[call.token] == 1, "what is executed is renewed"
        self.calls[call.name if call.item < 0 else f"{call.name}[{call.item}]"] += 1
        outcome = None if self.meanwhile is None else self.meanwhile(self, call)
        return outcome or Returned(call.name)

    def ring(self, rings: Sequence[Ring]) -> None:
        self.rings.extend(rings)

    ring_again = ring

    def queue_for(self, action: str, queue: str | None) -> str:
        return "celery"

    def may_keep(self, action: str, queue: str, hard_limit: float | None) -> bool:
        return self.keeps

    def take(self, token: UUID) -> None:
        self.tokens[token] = 1

    def drop(self, token: UUID) -> None:
        self.tokens.pop(token, None)

    def identity(self) -> tuple[UUID, str]:
        return self.worker, "100:1"


class Cut:
    """Counts the commits of a database, and loses the answer to one of them: before it landed, or after."""

    def __init__(self, at: int, landed: bool) -> None:
        self.at, self.landed, self.commits = at, landed, 0

    @property
    def happened(self) -> bool:
        return self.commits > self.at

    def _strikes(self) -> bool:
        self.commits += 1
        return self.commits == self.at + 1

    @contextmanager
    def on(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """From here on, for every transaction."""
        with monkeypatch.context() as patched:
            for name in ("transaction", "single"):
                patched.setattr(Database, name, self._around(getattr(Database, name), late=name == "transaction"))
            yield

    def _around(self, plain: Callable[..., Any], late: bool) -> Callable[..., Any]:
        @contextmanager
        def opened(database: Database, *given: Any) -> Iterator[Tx]:
            strikes = False
            with plain(database, *given) as tx:
                if not late:  # one statement, which is its own commit
                    strikes = self._strikes()
                    if strikes and not self.landed:
                        raise CommitUnknown("cut before it landed")
                yield tx
                if late:
                    strikes = self._strikes()
                    if strikes and not self.landed:
                        raise CommitUnknown("cut before it landed")
            if strikes:
                raise CommitUnknown("cut after it landed")

        return opened
