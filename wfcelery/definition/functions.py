"""The functions of expressions, over revived values: exact for Decimal and datetime; what does not fit together raises.

A traced comparison or calculation is written with them, `order.total > 500` as `gt(parameters.order.total, 500)`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from wfcelery.errors import ValueProblem

_NUMBERS = (int, float, Decimal)
_LARGEST_BITS = 13_000  # of an integer: some 4,000 digits


def _kind(value: Any) -> str:
    """What a value may be compared with: its own kind."""
    if isinstance(value, bool):
        return "a truth value"
    if isinstance(value, _NUMBERS):
        return "a number"
    for kind, name in _KINDS:
        if isinstance(value, kind):
            return name
    return f"a {type(value).__name__}"


_KINDS: tuple[tuple[type, str], ...] = (
    (str, "a text"),
    (datetime, "a datetime"),
    (date, "a date"),
    (time, "a time"),
    (UUID, "a UUID"),
    (bytes, "bytes"),
    (list, "a list"),
    (dict, "an object"),
    (type(None), "null"),
)


def _alike(left: Any, right: Any, what: str) -> None:
    first, second = _kind(left), _kind(right)
    if first != second:
        raise ValueProblem(f"{first} and {second} cannot be {what}")
    if isinstance(left, (datetime, time)) and (left.tzinfo is None) != (right.tzinfo is None):
        raise ValueProblem(f"{first} with a time zone and one without cannot be {what}")


def _ordering(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def ordered(left: Any, right: Any) -> bool:
        _alike(left, right, "compared")
        if isinstance(left, (dict, type(None), UUID)):
            raise ValueProblem(f"{_kind(left)} has no order")
        return bool(compare(left, right))

    return ordered


def equal(left: Any, right: Any) -> bool:
    """Null equals null alone; otherwise like is compared with like."""
    if left is None or right is None:
        return left is right
    _alike(left, right, "compared")
    return bool(left == right)


def add(left: Any, right: Any) -> Any:
    """Numbers, or two texts, or two lists."""
    if _kind(left) == _kind(right) and isinstance(left, (str, list)):
        return left + right
    return _calculated(operator.add, left, right)


def mul(left: Any, right: Any) -> Any:
    """Numbers only: a text times a number could be of any length."""
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() + right.bit_length() > _LARGEST_BITS:
        raise ValueProblem("the product is too large")
    return _calculated(operator.mul, left, right)


def power(left: Any, right: Any) -> Any:
    """Numbers only, and not too large ones."""
    if isinstance(left, int) and isinstance(right, int) and left.bit_length() * abs(right) > _LARGEST_BITS:
        raise ValueProblem("the power is too large")
    value = _calculated(operator.pow, left, right)
    if isinstance(value, complex):
        raise ValueProblem("the power is no real number")
    return value


def _calculated(calculate: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    for value in (left, right):
        if isinstance(value, bool) or not isinstance(value, _NUMBERS):
            raise ValueProblem(f"{_kind(left)} and {_kind(right)} cannot be calculated with")
    if {type(left), type(right)} >= {Decimal, float}:
        raise ValueProblem("a Decimal and a float do not mix: write the constant as a Decimal")
    return calculate(left, right)


def _calculation(calculate: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda left, right: _calculated(calculate, left, right)


def divisible(value: Any, by: Any) -> bool:
    """Whether whole numbers leave nothing over; by 0 none does."""
    if any(isinstance(number, bool) or not isinstance(number, int) for number in (value, by)):
        raise ValueProblem("divisibleby is asked of whole numbers")
    return bool(by != 0 and value % by == 0)


def negative(value: Any) -> Any:
    """The number with the other sign."""
    return _calculated(operator.sub, 0, value)


def required(value: Any) -> Any:
    """The value, which must not be null."""
    if value is None:
        raise ValueProblem("a required value is null")
    return value


def _constant(name: str, read: Callable[[str], Any]) -> Callable[[Any], Any]:
    def made(text: Any) -> Any:
        if not isinstance(text, str):
            raise ValueProblem(f"it is made from a text, not from {_kind(text)}")
        try:
            return read(text)
        except (ValueError, ArithmeticError) as problem:  # whose text may quote a value of the run
            raise ValueProblem(f"the text is no {name}") from problem

    return made


EXACT: Mapping[str, Callable[..., Any]] = {
    "gt": _ordering(operator.gt),
    "ge": _ordering(operator.ge),
    "lt": _ordering(operator.lt),
    "le": _ordering(operator.le),
    "eq": equal,
    "ne": lambda left, right: not equal(left, right),
    "add": add,
    "sub": _calculation(operator.sub),
    "mul": mul,
    "div": _calculation(operator.truediv),
    "truediv": _calculation(operator.truediv),
    "floordiv": _calculation(operator.floordiv),
    "mod": _calculation(operator.mod),
    "pow": power,
    "neg": negative,
    "not_": operator.not_,
    "is_none": lambda value: value is None,
    "required": required,
    "decimal": _constant("decimal", Decimal),
    "datetime": _constant("datetime", datetime.fromisoformat),
    "date": _constant("date", date.fromisoformat),
    "time": _constant("time", time.fromisoformat),
    "uuid": _constant("uuid", UUID),
}
