"""The client of a chaos run: starts runs under keys, asks again when it got no answer, cancels some.

`python -m tests.chaos.client FOLDER SEED`: a process of its own. How many runs a second it starts stands in the file
`tempo`, which the rig writes; `end` there lets it finish what it has begun. Everything it does is a line of its ledger,
outside of all faults; when it was killed and starts again, it goes on where the ledger ends.
"""

from __future__ import annotations

import heapq
import json
import os
import sys
import threading
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import chaos_app  # type: ignore[import-not-found]

from tests.chaos.lines import lines
from tests.chaos.plans import Plan, plan_of
from wfcelery import get_run, start_workflow
from wfcelery.errors import DefinitionProblems, InvalidInput, KeyConflict, NotAllowedNow, NotFound
from wfcelery.service import definitions
from wfcelery.service.context import current

REFUSED = (DefinitionProblems, InvalidInput, KeyConflict, NotFound, TypeError)  # asking again would change nothing
THREADS = 4
PAUSE = 0.3  # seconds before it asks again


@dataclass
class Client:
    """What it has begun, and what it still has to do."""

    folder: Path
    seed: int
    numbers: Any = field(default_factory=count)
    lock: threading.Lock = field(default_factory=threading.Lock)
    cancels: list[tuple[float, str, Plan]] = field(default_factory=list)
    slot: float = field(default_factory=time.monotonic)  # when the next run may be started
    busy: int = THREADS
    unanswered: list[Plan] = field(default_factory=list)  # asked for before it was killed

    def remember(self) -> None:
        """Read its own ledger: what has got no answer is asked again, what shall be cancelled is."""
        last: dict[int, dict[str, Any]] = {}
        for line in lines(self.folder / "client.jsonl"):
            last[line["number"]] = {"sent": line["number"], **last.get(line["number"], {}), line["phase"]: line["run"]}
        self.numbers = count(max(last, default=-1) + 1)
        for number, told in sorted(last.items(), reverse=True):
            plan = plan_of(self.seed, number)
            if not told.keys() & {"answered", "refused"}:
                self.unanswered.append(plan)
            elif plan.cancel_after is not None and "answered" in told and not told.keys() & {"cancelled", "too_late"}:
                heapq.heappush(self.cancels, (time.monotonic() + plan.cancel_after, told["answered"], plan))

    def starting(self) -> None:
        """One thread: a run after another, until the tempo says `end`."""
        while True:
            wait = self._wait()
            if wait is None:
                break
            if wait:
                time.sleep(wait)
                continue
            with self.lock:
                plan = self.unanswered.pop() if self.unanswered else plan_of(self.seed, next(self.numbers))
            run = self._until_answered(plan)
            if run is not None and plan.cancel_after is not None:
                with self.lock:
                    heapq.heappush(self.cancels, (time.monotonic() + plan.cancel_after, run, plan))
        with self.lock:
            self.busy -= 1

    def cancelling(self) -> None:
        """One thread: cancels when it is time, again and again until it is answered."""
        while self.busy or self.cancels:
            with self.lock:
                due = heapq.heappop(self.cancels) if self.cancels and self.cancels[0][0] <= time.monotonic() else None
            if due is None:
                time.sleep(0.05)
                continue
            _, run, plan = due
            try:
                get_run(run).cancel("the client has changed its mind")
                self._tell("cancelled", plan, run)
            except NotAllowedNow:
                self._tell("too_late", plan, run)
            except Exception as problem:
                self._tell("cancel_unknown", plan, run, error=f"{type(problem).__name__}: {problem}")
                with self.lock:
                    heapq.heappush(self.cancels, (time.monotonic() + PAUSE, run, plan))

    def _wait(self) -> float | None:
        """Seconds until this thread may start the next run; None: never."""
        said = (self.folder / "tempo").read_text().strip()
        if said == "end":
            return None
        rate = float(said or 0)
        with self.lock:
            now = time.monotonic()
            if rate <= 0 or now < self.slot:
                return 0.2 if rate <= 0 else min(0.2, self.slot - now)
            self.slot = max(self.slot + 1 / rate, now - 1.0)
        return 0.0

    def _until_answered(self, plan: Plan) -> str | None:
        while True:
            self._tell("sent", plan)
            began = time.monotonic()
            try:
                run = _start(plan)
            except REFUSED as problem:
                self._tell("refused", plan, error=f"{type(problem).__name__}: {problem}")
                return None
            except Exception as problem:
                self._tell("unknown", plan, error=f"{type(problem).__name__}: {str(problem)[:200]}")
                time.sleep(PAUSE)
                continue
            self._tell("answered", plan, run, took=round(time.monotonic() - began, 4))
            return run

    def _tell(self, phase: str, plan: Plan, run: str | None = None, **more: Any) -> None:
        line = {"phase": phase, "number": plan.number, "organization_id": plan.organization, "key": plan.key}
        line |= {"workflow": plan.name, "run": run, "at": time.time(), **more}
        file = os.open(self.folder / "client.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(file, (json.dumps(line) + "\n").encode())
        finally:
            os.close(file)


def _start(plan: Plan) -> str:
    if plan.definition is not None:
        definitions.store(current(), plan.definition)
    if plan.definition is not None or plan.kind == "evolving":
        return str(start_workflow(plan.name, plan.input, key=plan.key, organization_id=plan.organization).id)
    return str(start_workflow(getattr(chaos_app, plan.kind).bind(**plan.input), key=plan.key, organization_id=plan.organization).id)


def main(folder: str, seed: str) -> None:
    client = Client(Path(folder), int(seed))
    client.remember()
    threads = [threading.Thread(target=client.starting) for _ in range(THREADS)]
    threads.append(threading.Thread(target=client.cancelling))
    print("the client is ready", flush=True)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("the client has ended", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
