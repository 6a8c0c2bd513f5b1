"""Polling with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    look: Callable[[], T],
    *,
    within: float = 20.0,
    every: float = 0.05,
    what: str = "",
    ignoring: tuple[type[Exception], ...] = (),
    explain: Callable[[], str] | None = None,
) -> T:
    """The first truthy value that `look` gives; fails after `within` seconds with the last value seen.

    `ignoring` are errors that count as "not yet", such as those of a server that is being restarted.
    """
    deadline = time.monotonic() + within
    while True:
        try:
            seen: object = look()
        except ignoring as error:
            seen = error
        else:
            if seen:
                return seen  # type: ignore[return-value]
        if time.monotonic() > deadline:
            more = f"\n{explain()}" if explain is not None else ""
            raise AssertionError(f"not within {within:g} s: {what or getattr(look, '__name__', look)}; last seen: {seen!r}{more}")
        time.sleep(every)


def never(look: Callable[[], object], *, during: float, every: float = 0.05, what: str = "") -> None:
    """Fails as soon as `look` gives something truthy."""
    deadline = time.monotonic() + during
    while time.monotonic() < deadline:
        seen = look()
        assert not seen, f"happened and should not have: {what or getattr(look, '__name__', look)}: {seen!r}"
        time.sleep(every)
