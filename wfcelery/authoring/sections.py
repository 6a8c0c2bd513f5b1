"""A critical section of a workflow: `with lock("till"):` around the calls that no other run may make meanwhile."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self, Unpack

from wfcelery.authoring.formulas import TracedTask
from wfcelery.authoring.gates import check_gate
from wfcelery.authoring.options import WaitOptions, check_options
from wfcelery.authoring.tracing import current_trace, looked_at, templated


class Lock:
    """What is called inside its block is done while the run has the lock."""

    __slots__ = ("_key", "_options", "_trace")

    def __init__(self, key: str, options: dict[str, Any]) -> None:
        self._key, self._options = key, options
        self._trace = current_trace("lock()")

    def __enter__(self) -> Self:
        said = {"type": "parallel", "lock": templated(self._key, "lock")}
        section: TracedTask = self._trace.add("lock", self._options, said, looked_at(self._key))
        self._trace.sections.append(section)
        return self

    # None, not bool: checkers would call every name bound inside possibly unbound.
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._trace.sections.pop()


def lock(key: str, /, **options: Unpack[WaitOptions]) -> Lock:
    """Take the lock of a key before what is called inside, and give it back after it; one run has it at a time.

    It is taken when all has ended that the calls inside come after, and given back when they have ended, or the run has.
    """
    check_gate("lock", "lock()", key)
    check_options("lock()", options, WaitOptions.__annotations__)
    return Lock(key, dict(options))
