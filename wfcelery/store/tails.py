"""Ids as people type them: the last characters are enough where they fit one row alone."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from wfcelery.store.statements import one

SHORTEST = 4  # characters


def is_tail(text: str) -> bool:
    """Whether this can be the end of an id, as it is printed."""
    return len(text) >= SHORTEST and all(letter in "0123456789abcdef-" for letter in text.lower())


def fits(column: Any) -> Any:
    """A condition: the id ends with the parameter `tail`. It reads every row, which is what a person at a prompt may ask for."""
    plain = sa.func.replace(sa.cast(column, sa.Text), "-", "")
    tail = sa.func.replace(sa.func.lower(one("tail", sa.Text)), "-", "")
    return sa.func.substr(plain, sa.func.length(plain) - sa.func.length(tail) + 1) == tail
