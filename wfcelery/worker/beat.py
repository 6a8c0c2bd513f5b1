"""Beat asks for a sweep each second, and each minute for a look at what has expired.

Two beats ask twice, none not at all: the workers sweep anyway, and what has expired stays where it is.
"""

from __future__ import annotations

import logging
from typing import Any

from wfcelery.worker.messages import EXPIRE, SWEEP

ENTRIES = {"wfcelery-sweep": SWEEP, "wfcelery-expire": EXPIRE}


def entries(poll: float, expire_every: float) -> dict[str, dict[str, Any]]:
    """Ours in `beat_schedule`; a message expires when the next one comes. No entry where its interval is 0."""
    every = {SWEEP: poll, EXPIRE: expire_every}
    return {
        name: {"task": task, "schedule": every[task], "options": {"expires": every[task]}} for name, task in ENTRIES.items() if every[task]
    }


class Quiet(logging.Filter):
    """Beat writes a line for each message it sends. For those that nobody ordered it does not."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (isinstance(record.args, tuple) and any(name in record.args[:1] for name in ENTRIES))


def keep_quiet() -> None:
    """Install the filter, once."""
    beat = logging.getLogger("celery.beat")
    if not any(isinstance(each, Quiet) for each in beat.filters):
        beat.addFilter(Quiet())
