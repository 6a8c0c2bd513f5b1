"""What every side offers to the workloads."""

from __future__ import annotations

from typing import Protocol

CHAIN_LENGTH = 10


class Started(Protocol):
    """One piece of work under way."""

    def result(self, timeout: float) -> int:
        """The answer, waited for at most so many seconds."""
        ...


class Side(Protocol):
    """Starts work; every call returns as soon as the work is accepted."""

    def start_chain(self, value: int) -> Started:
        """Ten steps in a row, each adding one: the answer is `value + 10`."""
        ...

    def start_fan(self, width: int) -> Started:
        """One step, then one for each number below `width`, then one over all: the answer is the sum of 1 … width."""
        ...
