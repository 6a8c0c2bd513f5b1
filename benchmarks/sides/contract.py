"""What every side offers to the workloads.

Nothing here, in `benchmarks.client` and in `benchmarks.workloads` needs more than Python itself: a side may live in an
environment of its own.
"""

from __future__ import annotations

from typing import Any, Protocol

CHAIN_LENGTH = 10


class Started(Protocol):
    """One piece of work under way."""

    def result(self, timeout: float) -> Any:
        """The answer, waited for at most so many seconds."""
        ...


class Side(Protocol):
    """Starts work; every call returns as soon as the work is accepted. What a side lacks, the catalogue says and why."""

    def start_chain(self, value: int) -> Started:
        """Ten steps in a row, each adding one: the answer is `value + 10`."""
        ...

    def start_fan(self, width: int) -> Started:
        """One step, then one for each number below `width`, then one over all: the answer is the sum of 1 … width."""
        ...

    def start_long_chain(self, length: int) -> Started:
        """So many steps in a row in one run, each adding one to the 0 it begins with: the answer is `length`."""
        ...

    def start_sleep(self, seconds: float) -> Started:
        """Something looks at the clock, then so many seconds pass, then a step looks again: the answer is both times, since 1970."""
        ...
