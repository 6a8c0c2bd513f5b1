"""A database that is away: what only this process knows waits for it to come back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import sleep
from typing import TypeVar

from wfcelery.clock import monotonic
from wfcelery.errors import Unavailable
from wfcelery.store.failures import CommitUnknown
from wfcelery.store.outside import again

log = logging.getLogger(__name__)

T = TypeVar("T")

LEASES = 20  # after so many of them nobody waits for the answer any more
FIRST, LONGEST = 0.05, 2.0  # seconds between two tries


def until_answered(lease: float, what: Callable[[], T]) -> T:
    """Do it until the database has answered. It must be such that doing it again after an unknown commit is right.

    Raises the last Unavailable or CommitUnknown after twenty leases (of `lease` seconds), and whatever else it raises at once.
    """
    began, pause = monotonic(), FIRST
    while True:
        try:
            return again(what)
        except (Unavailable, CommitUnknown) as away:
            if monotonic() - began > lease * LEASES:
                raise
            log.warning("the database has not answered, again in %.2f s: %s", pause, away)
            sleep(pause)
            pause = min(pause * 2, LONGEST)
