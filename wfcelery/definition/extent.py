"""How many values a value holds, before anybody writes them: parts that are shared count as often as they would be written."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from wfcelery.errors import CannotCarry, ValueProblem

MOST_VALUES = 2**19  # what one MiB of JSON can hold at most; lists that share their parts, or never end, hold more
_DEEPEST_COMPOSED = 160  # levels of what a template has put together
_MOST_COMPOSED = 16 * 1_048_576


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


def composed(stored: Any) -> Any:
    """What a template has put together, if a row can hold it; a ValueProblem where it is too deep or too large."""
    left, open_ends = _MOST_COMPOSED, [(stored, 0)]
    while open_ends:
        value, depth = open_ends.pop()
        kind = type(value)
        if kind is str:
            left -= len(value)
        elif kind is dict or kind is list:
            if depth > _DEEPEST_COMPOSED:
                raise ValueProblem(f"what it puts together is nested more than {_DEEPEST_COMPOSED} levels deep")
            left -= 8 * len(value)
            open_ends.extend((item, depth + 1) for item in (value.values() if kind is dict else value))
        if left < 0:
            raise ValueProblem("what it puts together is larger than 16 MiB")
    return stored
