"""A race in a workflow: several branches begin, the first that comes to its end wins, the others are cancelled."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self, Unpack, cast

from wfcelery.authoring.formulas import Formula, TracedTask, Use
from wfcelery.authoring.options import WaitOptions, check_options, check_task_name
from wfcelery.authoring.references import Reference
from wfcelery.authoring.tracing import current_trace, refusal, won


class Race:
    """`with race() as first:` around its branches."""

    __slots__ = ("_task",)

    def __init__(self, task: TracedTask) -> None:
        self._task = task

    def __enter__(self) -> Self:
        return self

    # None, not bool: checkers would call every name bound inside possibly unbound.
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None and len(self._task.inside) < 2:
            raise refusal(f"the race {self._task.name} has two branches at least: with race() as r: with r.branch(...): ...")

    def branch(self, name: str, /) -> Branch:
        """One of those that race: what is called inside its block. `won` says whether it was the first."""
        trace = current_trace("branch()")
        check_task_name("branch()", name)
        task = trace.add(name, {"name": name}, {"type": "parallel"}, ())
        task.race = self._task
        self._task.inside.append(task)
        return Branch(task)


class Branch:
    """`with first.branch("paid") as paid:` around what has to come to its end for this branch to win."""

    __slots__ = ("_before", "_task", "won")

    won: bool

    def __init__(self, task: TracedTask) -> None:
        race = task.race
        assert race is not None
        self._task = task
        self._before: TracedTask | None = None
        self.won = cast("bool", Reference(Formula(won(task), (Use(race),))))

    def __enter__(self) -> Self:
        trace = current_trace("a branch")
        self._before, trace.branch = trace.branch, self._task
        return self

    # None, not bool: checkers would call every name bound inside possibly unbound.
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        current_trace("a branch").branch = self._before
        if kind is None and not self._task.inside:
            raise refusal(f"the branch {self._task.name} calls nothing: nothing could make it win")


def race(**options: Unpack[WaitOptions]) -> Race:
    """Let several branches begin: the first that comes to its end wins, and what is under way in the others is cancelled.

    Of waits the times count, whoever is looked at first. What a branch returned is there where it has won: `with when(paid.won):`.
    """
    trace = current_trace("race()")
    given: dict[str, Any] = dict(options)
    check_options("race()", given, WaitOptions.__annotations__)
    return Race(trace.add("race", given, {"type": "race"}, ()))
