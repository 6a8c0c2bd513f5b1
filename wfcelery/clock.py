"""Time as a value. Whatever is stored is judged by the database's clock; this one only measures spans and makes ids."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from uuid import UUID


def monotonic() -> float:
    """Seconds that never go back, for budgets and pauses inside one process."""
    return time.monotonic()


def uuid7() -> UUID:
    """A fresh id that sorts by the millisecond it was made in (RFC 9562, section 5.7)."""
    value = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10), "big")
    return UUID(int=value & ~(0xF << 76) & ~(0x3 << 62) | 0x7 << 76 | 0x2 << 62)


def first_of(moment: datetime) -> UUID:
    """An id below every id of `uuid7` that is made at this moment or later."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def made_at(id: UUID) -> datetime | None:  # noqa: A002
    """When an id of `uuid7` was made, by the clock of who made it; None for any other id."""
    return datetime.fromtimestamp((id.int >> 80) / 1000, UTC) if id.version == 7 else None
