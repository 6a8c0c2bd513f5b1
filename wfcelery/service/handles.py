"""A run as callers hold it: an id, and what can be asked of it from any process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from time import sleep
from typing import Any, Generic, Literal, cast
from uuid import UUID

from typing_extensions import TypeVar

from wfcelery.authoring.context import running_step
from wfcelery.authoring.decorators import Step, Workflow
from wfcelery.clock import monotonic
from wfcelery.definition.spans import seconds
from wfcelery.definition.values import loads
from wfcelery.errors import (
    Duration,
    NotAllowedNow,
    NotFound,
    RunCancelled,
    RunFailed,
    RunTimedOut,
    StepError,
    StillRunning,
)
from wfcelery.service import asking, by_hand, definitions, moving, replaying, runs, sending
from wfcelery.service.context import current
from wfcelery.service.expecting import Expectations
from wfcelery.service.explaining import explained
from wfcelery.service.replaying import Edit
from wfcelery.service.run_data import KeptData
from wfcelery.service.views import MoveView
from wfcelery.service.why import Cause

_expected = Expectations()

R_co = TypeVar("R_co", covariant=True, default=Any)
AnyT = TypeVar("AnyT", default=Any)
RunStatus = Literal[
    "pending", "running", "waiting", "paused", "cancelling", "compensating", "succeeded", "failed", "cancelled", "timed_out"
]


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """What one commit did to a run."""

    version: int
    at: datetime
    facts: Sequence[Mapping[str, Any]]


class Run(Generic[R_co]):
    """A run, by its id alone: it can be pickled, kept, and asked from any process."""

    __slots__ = ("id", "key")

    def __init__(self, id: str, key: str | None = None) -> None:  # noqa: A002
        self.id = id
        self.key = key

    def __repr__(self) -> str:
        return f"Run({self.id!r})" if self.key is None else f"Run({self.id!r}, key={self.key!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[type[Run[Any]], tuple[str, str | None]]:
        return Run, (self.id, self.key)

    def status(self) -> RunStatus:
        """Where the run stands now. Raises `NotFound`."""
        return cast(RunStatus, runs.status_of(current(), UUID(self.id)).status)

    def result(self, timeout: Duration | None = None) -> R_co:
        """What the workflow returned; waits for the end, `timeout` seconds at most (None: for ever).

        Where the run has continued as a new one, that of the last of them.
        Raises `RunFailed`, `RunCancelled`, `RunTimedOut`, or `StillRunning` when the time is up. Inside a step,
        and for a run that is not committed yet, it raises `NotAllowedNow` at once: it would wait for itself.
        """
        if running_step() is not None:
            raise NotAllowedNow("result() inside a step would hold a worker while it waits; make the other run's result an input instead")
        patience = None if timeout is None else seconds(timeout)
        began, run = monotonic(), UUID(self.id)
        while True:
            found = runs.outcome_of(current(), run)
            if found is not None and found.continued_as is not None:
                run = found.continued_as
                continue
            if found is None:
                raise NotAllowedNow(f"run {self.id} is not committed yet, or does not exist; ask after the transaction that starts it")
            waited = monotonic() - began
            if found.ended:
                _expected.learn(found.workflow, found.age, waited)
                return cast(R_co, _value(str(run), found))
            if patience is not None and waited >= patience:
                raise StillRunning(str(run), found.status)
            pause = _expected.pause(found.workflow, age=found.age, waited=waited, begun=found.status != "pending")
            sleep(pause if patience is None else min(pause, max(patience - waited, 0.0)))

    def cancel(self, reason: str = "operator cancel", *, by: str | None = None) -> None:
        """Ask the run to end: what has not begun never will, what is under way is told. Nothing, where it has ended.

        `reason`, and who asks (`by`), are kept in the history and in the audit.
        """
        asking.ask(current(), UUID(self.id), "cancel", reason, by)

    def terminate(self, reason: str = "operator terminate", *, by: str | None = None) -> None:
        """End the run at once: what is under way is fenced, and its results change nothing. Nothing, where it has ended."""
        asking.ask(current(), UUID(self.id), "terminate", reason, by)

    def pause(self, reason: str = "operator pause", *, by: str | None = None, until: datetime | Duration | None = None) -> None:
        """Let nothing new begin until `resume`, or by itself until a time; what is under way ends as it ends.

        `until` is a span ("2h", counted from when it is applied) or a moment. Raises `NotAllowedNow` where it cannot be paused.
        """
        asking.pause(current(), UUID(self.id), reason, by, until)

    def resume(self, *, by: str | None = None) -> None:
        """Let a paused run go on. Raises `NotAllowedNow` where it is not paused."""
        asking.ask(current(), UUID(self.id), "resume", by=by)

    def retry(self, *, by: str | None = None) -> None:
        """Try everything again, at once, that stopped a failed or timed-out run. Raises `NotAllowedNow` where it has not failed."""
        asking.ask(current(), UUID(self.id), "retry", by=by)

    def skip(self, step: str, reason: str = "operator skip", *, by: str | None = None) -> None:
        """Skip a step; what comes after it goes on as behind a `when` that was false, and so does a run that failed by it.

        Raises `NotFound`, and `NotAllowedNow` where the step is being executed or is over.
        """
        by_hand.skip(current(), UUID(self.id), step, reason, by)

    def complete(self, step: str, result: object = None, reason: str = "operator complete", *, by: str | None = None) -> None:
        """Let a step be worth `result`, as if its code had returned it; a run that failed by it goes on.

        Raises as `skip`, and `InvalidInput` where this process knows the step and its annotation promises another result.
        """
        by_hand.complete(current(), UUID(self.id), step, result, reason, by)

    def send_event(
        self,
        name: str,
        data: object = None,
        *,
        key: str | None = None,
        dedup: str | None = None,
        actor: str | None = None,
        role: str | None = None,
    ) -> str:
        """Send an event to this run alone; its id. What it does not wait for yet is kept. Raises `NotAllowedNow` where it has ended."""
        wish = sending.Wish(name, data, key, self.id, dedup=dedup, actor=actor, role=role)
        return str(sending.send(current(), wish, {}))

    def replay(
        self,
        edit: Edit = (),
        *,
        set: Mapping[str, Any] | None = None,  # noqa: A002
        same_version: bool = False,
        key: str | None = None,
        by: str | None = None,
    ) -> Run[R_co]:
        """Start it once more from its beginning, as a new run: with its input, edited by a JSON Patch, or by values at paths (`set`).

        It goes by the newest definition, unless `same_version` is said. Raises `InvalidInput` with all that is wrong with the input.
        """
        again = replaying.Again(edit, set, key, by)
        return Run(str(replaying.replay(current(), UUID(self.id), again, same_version=same_version)), key)

    def rerun(
        self,
        step: str,
        *,
        edit: Edit = (),
        set: Mapping[str, Any] | None = None,  # noqa: A002
        key: str | None = None,
        by: str | None = None,
    ) -> Run[R_co]:
        """Start it once more from one of its steps, as a new run: what stands before it is taken over, it and what follows runs anew.

        Raises as `replay`, `NotFound` for an unknown step, and `NotAllowedNow` while the run has not ended.
        """
        return Run(str(replaying.rerun(current(), UUID(self.id), step, replaying.Again(edit, set, key, by))), key)

    def why(self) -> Sequence[Cause]:
        """Why the run stands where it stands: each cause with what helps, the most telling first, then those of its children."""
        return explained(current(), UUID(self.id)).causes

    def move(self, to: str, *, dry_run: bool = False, by: str | None = None) -> MoveView:
        """Let the run go on by another version of its workflow: a label such as "2", or "latest". What is done stays done.

        Says what becomes of its tasks at once (`changes`). Raises `NotAllowedNow` with everything that forbids it; with
        `dry_run` that is in `problems`, and nothing is asked of the run. Raises `NotFound`.
        """
        if dry_run:
            return moving.rehearsed(current(), UUID(self.id), to)
        return moving.move(current(), UUID(self.id), to, by)

    def cancel_step(self, step: str, reason: str = "operator cancel", *, by: str | None = None) -> None:
        """End one step, and let the run go on: by its `on_cancel`, or as its `on_error` says. What executes it is fenced.

        Raises `NotFound`, and `NotAllowedNow` where the run has not come to the step, or it is over.
        """
        by_hand.cancel_step(current(), UUID(self.id), step, reason, by)

    @property
    def data(self) -> KeptData:
        """What steps have kept beside the run, by name; anybody may read and write it."""
        return KeptData(self.id)

    def history(self) -> Sequence[HistoryEntry]:
        """Everything that happened to the run, one entry a commit, oldest first."""
        return [HistoryEntry(row.version, row.at, row.facts) for row in runs.history_of(current(), UUID(self.id))]

    async def astatus(self) -> RunStatus:
        """`status` from a coroutine."""
        return await asyncio.to_thread(self.status)

    async def aresult(self, timeout: Duration | None = None) -> R_co:
        """`result` from a coroutine."""
        return await asyncio.to_thread(self.result, timeout)

    async def acancel(self, reason: str = "operator cancel", *, by: str | None = None) -> None:
        """`cancel` from a coroutine."""
        await asyncio.to_thread(self.cancel, reason, by=by)

    async def aterminate(self, reason: str = "operator terminate", *, by: str | None = None) -> None:
        """`terminate` from a coroutine."""
        await asyncio.to_thread(self.terminate, reason, by=by)

    async def apause(self, reason: str = "operator pause", *, by: str | None = None, until: datetime | Duration | None = None) -> None:
        """`pause` from a coroutine."""
        await asyncio.to_thread(self.pause, reason, by=by, until=until)

    async def aresume(self, *, by: str | None = None) -> None:
        """`resume` from a coroutine."""
        await asyncio.to_thread(self.resume, by=by)

    async def aretry(self, *, by: str | None = None) -> None:
        """`retry` from a coroutine."""
        await asyncio.to_thread(self.retry, by=by)

    async def askip(self, step: str, reason: str = "operator skip", *, by: str | None = None) -> None:
        """`skip` from a coroutine."""
        await asyncio.to_thread(self.skip, step, reason, by=by)

    async def acomplete(self, step: str, result: object = None, reason: str = "operator complete", *, by: str | None = None) -> None:
        """`complete` from a coroutine."""
        await asyncio.to_thread(self.complete, step, result, reason, by=by)

    async def asend_event(
        self,
        name: str,
        data: object = None,
        *,
        key: str | None = None,
        dedup: str | None = None,
        actor: str | None = None,
        role: str | None = None,
    ) -> str:
        """`send_event` from a coroutine."""
        return await asyncio.to_thread(self.send_event, name, data, key=key, dedup=dedup, actor=actor, role=role)

    async def areplay(
        self,
        edit: Edit = (),
        *,
        set: Mapping[str, Any] | None = None,  # noqa: A002
        same_version: bool = False,
        key: str | None = None,
        by: str | None = None,
    ) -> Run[R_co]:
        """`replay` from a coroutine."""
        return await asyncio.to_thread(self.replay, edit, set=set, same_version=same_version, key=key, by=by)

    async def arerun(
        self,
        step: str,
        *,
        edit: Edit = (),
        set: Mapping[str, Any] | None = None,  # noqa: A002
        key: str | None = None,
        by: str | None = None,
    ) -> Run[R_co]:
        """`rerun` from a coroutine."""
        return await asyncio.to_thread(self.rerun, step, edit=edit, set=set, key=key, by=by)

    async def awhy(self) -> Sequence[Cause]:
        """`why` from a coroutine."""
        return await asyncio.to_thread(self.why)

    async def amove(self, to: str, *, dry_run: bool = False, by: str | None = None) -> MoveView:
        """`move` from a coroutine."""
        return await asyncio.to_thread(self.move, to, dry_run=dry_run, by=by)

    async def acancel_step(self, step: str, reason: str = "operator cancel", *, by: str | None = None) -> None:
        """`cancel_step` from a coroutine."""
        await asyncio.to_thread(self.cancel_step, step, reason, by=by)

    async def ahistory(self) -> Sequence[HistoryEntry]:
        """`history` from a coroutine."""
        return await asyncio.to_thread(self.history)


def _value(run: str, found: runs.Outcome) -> Any:
    error, step = StepError.of(found.error), (found.error or {}).get("step", "")
    match found.status:
        case "succeeded":
            return definitions.revive(found.workflow, None if found.output is None else loads(found.output))
        case "failed":
            raise RunFailed(run, step, error)
        case "cancelled":
            raise RunCancelled(run, found.reason or "")
        case _:
            raise RunTimedOut(run, step or None)


def get_run(id_or_key: str, of: Workflow[..., AnyT] | Step[..., AnyT] | None = None, /) -> Run[AnyT]:
    """The run of an id, of any unique tail of an id, or of a key (of one workflow, where `of` says which).

    Raises `NotFound`, also where the key or tail fits several.
    """
    found = runs.find(current(), id_or_key, None if of is None else of.name)
    if found is None:
        raise NotFound("run", id_or_key)
    return Run(str(found.id), key=found.key)
