"""An engine whose rows are files in a folder: enough of one to run real workers without a database."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from wfcelery.core.decision import RingStep
from wfcelery.engine.ports import Call, Outcome, Raised, Returned
from wfcelery.worker.engine import WorkerFacts
from wfcelery.worker.installation import Installation

RUN = UUID("018f0000-0000-7000-8000-000000000001")


@dataclass
class FolderEngine:
    """A step is `<id>.step`; claimed by `<id>.<attempt>.claim`, over with `<id>.end`; what happens is a line of `log`."""

    folder: Path
    installation: Installation | None = None
    sweep_rings: bool = True
    _lock: threading.Lock = field(default_factory=threading.Lock)

    # ---- what tests do -----------------------------------------------------------------------------------------------

    def put(self, action: str, given: Mapping[str, Any] | None = None, queue: str = "celery", then: Collection[UUID] = ()) -> RingStep:
        step = uuid4()
        row = {"action": action, "input": dict(given or {}), "queue": queue, "then": [str(each) for each in then]}
        part = self.folder / f"{step}.part"
        part.write_text(json.dumps(row))
        part.rename(self.folder / f"{step}.step")
        return RingStep("default", RUN, step, queue, name=action)

    def hide_from_sweeps(self, ring: RingStep) -> None:
        """For an hour it is found by its ring alone."""
        os.utime(self.folder / f"{ring.step}.step", (time.time() + 3600,) * 2)

    def say(self, what: str, **fields: Any) -> None:
        line = json.dumps({"what": what, "at": time.time(), "pid": os.getpid(), **fields})
        with (self.folder / "log").open("ab", buffering=0) as file:
            file.write(line.encode() + b"\n")

    def said(self, what: str) -> list[dict[str, Any]]:
        log = self.folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [each for each in map(json.loads, lines) if each["what"] == what]

    def ended(self, step: UUID) -> dict[str, Any] | None:
        end = self.folder / f"{step}.end"
        return json.loads(end.read_text()) if end.exists() else None

    def cancel(self, token: str) -> None:
        with (self.folder / "cancelled").open("a") as file:
            file.write(token + "\n")

    # ---- Engine ------------------------------------------------------------------------------------------------------

    def ns(self) -> str:
        return "folder"

    def execute(self, organization_id: str, run: UUID, step: UUID) -> None:
        assert self.installation is not None
        slots, row = self.installation.slots, json.loads((self.folder / f"{step}.step").read_text())
        attempt = len(list(self.folder.glob(f"{step}.*.claim"))) + 1
        under_way = attempt - 1 > len(list(self.folder.glob(f"{step}.lost*")))
        if under_way or (self.folder / f"{step}.end").exists():
            return
        token = uuid4()
        slots.take(token)
        try:
            os.close(os.open(self.folder / f"{step}.{attempt}.claim", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            slots.drop(token)
            return
        worker, child = slots.identity()
        self.say("claim", step=str(step), token=str(token), worker=str(worker), child=child, attempt=attempt)
        outcome = self.installation.caller.call(call_of(row, step, run, token, attempt))
        self._end(step, outcome)
        slots.drop(token)
        self.say("end", step=str(step), token=str(token))
        self.installation.bell.ring([self._ring(UUID(each)) for each in row["then"]])

    def dispatch(self, organization_id: str, run: UUID) -> None:
        self.say("dispatch", run=str(run))

    def sweep(self, queues: Collection[str] | None = None) -> float:
        assert self.installation is not None
        self.say("sweep", queues=sorted(queues) if queues is not None else None)
        if self.sweep_rings:
            due = [self._ring(UUID(path.stem)) for path in self.folder.glob("*.step") if self._is_due(path)]
            self.installation.bell.ring([ring for ring in due if queues is None or ring.queue in queues])
        return 0.2

    def register_worker(self, facts: WorkerFacts) -> None:
        self.say("register", worker=str(facts.worker), process=facts.process, queues=list(facts.queues), tasks=list(facts.tasks))

    def renew(self, worker: UUID, tokens: Collection[UUID]) -> frozenset[UUID] | None:
        self.say("renew", worker=str(worker), tokens=sorted(map(str, tokens)))
        if (self.folder / f"lost-{worker}").exists():
            return None
        cancelled = self.folder / "cancelled"
        listed = set(cancelled.read_text().split()) if cancelled.exists() else set()
        return frozenset(token for token in tokens if str(token) in listed)

    def child_died(self, worker: UUID, child: str) -> None:
        self.say("died", worker=str(worker), child=child)
        for claim in self.said("claim"):
            step = claim["step"]
            if claim["child"] == child and not (self.folder / f"{step}.end").exists():
                (self.folder / f"{step}.lost{claim['attempt']}").touch()

    def retire(self, worker: UUID) -> None:
        self.say("retire", worker=str(worker))

    def _is_due(self, path: Path) -> bool:
        step = path.stem
        lost, claims = len(list(self.folder.glob(f"{step}.lost*"))), len(list(self.folder.glob(f"{step}.*.claim")))
        return claims == lost and not (self.folder / f"{step}.end").exists() and time.time() - path.stat().st_mtime > 0.5

    def _ring(self, step: UUID) -> RingStep:
        row = json.loads((self.folder / f"{step}.step").read_text())
        return RingStep("default", RUN, step, row["queue"], name=row["action"])

    def _end(self, step: UUID, outcome: Outcome) -> None:
        end: dict[str, Any] = {"outcome": type(outcome).__name__}
        if isinstance(outcome, Returned):
            end["value"] = outcome.value
        elif isinstance(outcome, Raised):
            end |= {"error": outcome.error, "retry_in": outcome.retry_in, "final": outcome.final, "end": outcome.end}
        part = self.folder / f"{step}.{os.getpid()}.part"
        part.write_text(json.dumps(end))
        part.rename(self.folder / f"{step}.end")


def call_of(row: Mapping[str, Any], step: UUID, run: UUID, token: UUID, attempt: int, **more: Any) -> Call:
    values: dict[str, Any] = {
        "organization_id": "default",
        "run": run,
        "workflow": "flow",
        "step": step,
        "name": "task",
        "action": row["action"],
        "item": -1,
        "attempt": attempt,
        "failures": attempt - 1,
        "token": token,
        "key": "key",
        "input": row["input"],
        "queue": row.get("queue", "celery"),
        "deadline": None,
        "timeout": None,
        "soft_timeout": row.get("soft_timeout"),
    }
    return Call(**{**values, **more})
