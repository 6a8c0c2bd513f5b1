"""Lengths of time as people write them: 30, 30s, 1.5h, 1d 12h."""

from __future__ import annotations

import re
from datetime import date, time, timedelta
from typing import Any

from wfcelery.errors import InvalidSpan

_SPAN = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)\s*")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_LONGEST_SPAN = 100 * 366 * 86400.0


def seconds(span: str | int | float | timedelta) -> float:
    """A span in seconds: 30, "30", "1.5h", "1d 12h", or a timedelta; `InvalidSpan` with a sentence otherwise."""
    if isinstance(span, timedelta):
        length = span.total_seconds()
    elif isinstance(span, bool) or not isinstance(span, (str, int, float)):
        raise InvalidSpan(f"{shortly(span)} is not a span of time; write 30, 30s, 5m, 12h or 2d")
    elif isinstance(span, str):
        length = _parsed_span(span)
    else:
        length = float(span) if abs(span) <= _LONGEST_SPAN else -1.0
    if not 0 <= length <= _LONGEST_SPAN:
        raise InvalidSpan(f"{shortly(span)} is not a span between nothing and a hundred years")
    return length


def shortly(value: Any) -> str:
    """What was given where something else is wanted, for a sentence: as it is written, but never long."""
    if isinstance(value, (str, bytes)):
        return repr(value[:40]) + ("…" if len(value) > 40 else "")
    if value is None or isinstance(value, (bool, float, date, time, timedelta)) or (type(value) is int and value.bit_length() < 256):
        return repr(value)
    return f"{'an' if type(value).__name__[0] in 'aeiou' else 'a'} {type(value).__name__}"


def _parsed_span(span: str) -> float:
    if re.fullmatch(r"\s*\d+(\.\d+)?\s*", span):
        return float(span)
    total, at = 0.0, 0
    while at < len(span) and (part := _SPAN.match(span, at)):
        total, at = total + float(part[1]) * _UNITS[part[2]], part.end()
    if at == 0 or at < len(span):
        raise InvalidSpan(f"{shortly(span)} is not a span of time; write 30, 30s, 5m, 12h or 2d")
    return total
