"""A part of a workflow that another task can close as a whole: `with region("search") as search:` and `options(cancels=search)`."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from wfcelery.authoring.options import check_task_name
from wfcelery.authoring.tracing import Trace, current_trace


class Region:
    """What is called inside its block stands in it. `cancels=` takes it, before the block or after."""

    __slots__ = ("_trace", "name")

    def __init__(self, name: str, trace: Trace) -> None:
        self.name, self._trace = name, trace

    def __enter__(self) -> Self:
        self._trace.regions.append(self.name)
        return self

    # None, not bool: checkers would call every name bound inside possibly unbound.
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._trace.regions.pop()

    def wf_named(self, trace: Any) -> str | None:
        """Its name, to the trace that it was made in."""
        return self.name if trace is self._trace else None


def region(name: str, /) -> Region:
    """A region of this workflow. One name is one region, however often it is asked for."""
    trace = current_trace("region()")
    check_task_name("region()", name)
    return Region(name, trace)
