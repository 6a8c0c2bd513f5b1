"""How many values a value holds, before anybody writes them: parts that are shared count as often as they would be written."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from wfcelery.errors import CannotCarry

MOST_VALUES = 2**19  # what one MiB of JSON can hold at most; lists that share their parts, or never end, hold more


def too_many(path: str = "") -> CannotCarry:
    """What is said of a value that holds more."""
    return CannotCarry(path[:80], "value", f"with all its parts it holds more than {MOST_VALUES} values")


def check_extent(value: Any) -> None:
    """Raises `CannotCarry` where models, dicts and lists hold too much. For pydantic, which writes all of it before it answers."""
    waiting, seen = [value], 0
    while waiting:
        one = waiting.pop()
        seen += 1
        if seen > MOST_VALUES:
            raise too_many()
        if isinstance(one, BaseModel):
            waiting += one.__dict__.values()
        elif type(one) is dict:
            waiting += one.values()
        elif type(one) is list or type(one) is tuple:
            waiting += one
