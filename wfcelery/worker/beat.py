"""Beat asks for a sweep each second. Two beats ask twice, none not at all: the workers sweep anyway."""

from __future__ import annotations

import logging
from typing import Any

from wfcelery.worker.publisher import SWEEP

ENTRY = "wfcelery-sweep"


def entry(seconds: float) -> dict[str, Any]:
    """The entry of `beat_schedule`; its message expires when the next one comes."""
    return {"task": SWEEP, "schedule": seconds, "options": {"expires": seconds}}


class Quiet(logging.Filter):
    """Beat writes a line for each message it sends. For one a second that nobody ordered it does not."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (isinstance(record.args, tuple) and ENTRY in record.args[:1])


def keep_quiet() -> None:
    """Install the filter, once."""
    beat = logging.getLogger("celery.beat")
    if not any(isinstance(each, Quiet) for each in beat.filters):
        beat.addFilter(Quiet())
