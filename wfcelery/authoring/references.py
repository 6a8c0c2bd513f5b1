"""A reference: what a value is while a workflow is traced. It has no value; what is done to it becomes an expression.

What cannot become one raises at once, with a sentence that names the way.
"""

# What these methods refuse, they refuse to return.
# ruff: noqa: ARG002, PLE0303, PLE0304, PLE0307, PLE0309

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from types import FrameType
from typing import Any, NoReturn
from uuid import UUID

from wfcelery.authoring.formulas import Formula
from wfcelery.errors import AuthoringError


class Reference:
    """Stands for a value that exists only when the workflow runs."""

    __slots__ = ("_wf",)

    _wf: Formula

    def __init__(self, formula: Formula) -> None:
        object.__setattr__(self, "_wf", formula)

    def __repr__(self) -> str:
        return f"<reference {self._wf.source}>"

    def __getattr__(self, name: str) -> Reference:
        if name.startswith("_"):
            raise AttributeError(name)  # copy, pickle, inspect and pydantic probe for these
        return Reference(_below(self._wf, f".{name}"))

    def __getitem__(self, key: object) -> Reference:
        if isinstance(key, slice):
            _refuse(self, "is sliced", "do it in a step, or write expr('… [1:3]')")
        if isinstance(key, Reference):
            return Reference(joined(f"{_grouped(self._wf)}[{{}}]", key))
        if isinstance(key, str) and _PLAIN_NAME.fullmatch(key):
            return Reference(_below(self._wf, f".{key}"))
        return Reference(_below(self._wf, f"[{literal(key)}]"))

    def __setattr__(self, name: str, value: object) -> None:
        _refuse(self, "is changed", "a step returns the changed value")

    def __setitem__(self, key: object, value: object) -> None:
        _refuse(self, "is changed", "a step returns the changed value")

    # ---- what has no value to give -----------------------------------------------------------------------------------

    def __bool__(self) -> NoReturn:
        _refuse(self, "is asked whether it is true", "write `with when(…):`, and `&`, `|`, not_() for and, or, not")

    def __iter__(self) -> NoReturn:
        _refuse(self, "is iterated over", "write step.map(items), or index it: pair[0]")

    def __len__(self) -> NoReturn:
        _refuse(self, "is asked for its length", "write expr('… | length')")

    def __contains__(self, item: object) -> NoReturn:
        _refuse(self, "is searched", "write expr('… in …')")

    def __str__(self) -> NoReturn:
        _refuse(self, "is made a text", "write text('… {}', x)")

    def __format__(self, spec: str) -> NoReturn:
        _refuse(self, "stands in an f-string", "write text('… {}', x)")

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        _refuse(self, "is called", "methods do not run here: put it into a step")

    def __hash__(self) -> NoReturn:
        _refuse(self, "is put into a set or used as a key", "do it in a step")

    def __int__(self) -> NoReturn:
        _refuse(self, "is made a number", "do it in a step, or write expr('… | int')")

    __index__ = __float__ = __complex__ = __round__ = __trunc__ = __int__

    def __await__(self) -> NoReturn:
        _refuse(self, "is awaited", "call the step without await: the workflow waits for what it needs")

    def __enter__(self) -> NoReturn:
        _refuse(self, "opens a with-block", "write `with when(…):` or `with after(…):`")

    def __exit__(self, *_: object) -> None:
        return None

    # ---- what becomes an expression ----------------------------------------------------------------------------------

    def __and__(self, other: object) -> Reference:
        return both(self, other)

    def __or__(self, other: object) -> Reference:
        return any_of(self, other)

    def __rand__(self, other: object) -> Reference:
        return both(other, self)

    def __ror__(self, other: object) -> Reference:
        return any_of(other, self)

    def __invert__(self) -> Reference:
        return negated(self)

    def __neg__(self) -> Reference:
        return Reference(joined("neg({})", self))

    def __pos__(self) -> Reference:
        return self

    def __eq__(self, other: object) -> Reference:  # type: ignore[override]
        return Reference(joined("eq({}, {})", self, other))

    def __ne__(self, other: object) -> Reference:  # type: ignore[override]
        return Reference(joined("ne({}, {})", self, other))


_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_FUNCTIONS = {
    "gt": "gt",
    "lt": "lt",
    "ge": "ge",
    "le": "le",
    "add": "add",
    "sub": "sub",
    "mul": "mul",
    "truediv": "div",
    "floordiv": "floordiv",
    "mod": "mod",
    "pow": "pow",
}


def _forward(function: str) -> Callable[[Reference, object], Reference]:
    return lambda left, right: Reference(joined(f"{function}({{}}, {{}})", left, right))


def _backward(function: str) -> Callable[[Reference, object], Reference]:
    return lambda right, left: Reference(joined(f"{function}({{}}, {{}})", left, right))


for _name, _function in _FUNCTIONS.items():
    setattr(Reference, f"__{_name}__", _forward(_function))
    if _name not in ("gt", "lt", "ge", "le"):
        setattr(Reference, f"__r{_name}__", _backward(_function))


def _refuse(reference: Reference, what: str, way: str) -> NoReturn:
    raise AuthoringError(f"{reference._wf.source} {what}, but has no value while the workflow is traced: {way}", where=authors_line())


def authors_line() -> str | None:
    """Module and line of the author's code that is running, for sentences."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith("wfcelery.authoring"):
        frame = frame.f_back
    return None if frame is None else f"{frame.f_globals.get('__name__')}:{frame.f_lineno}"


# ---- formulas --------------------------------------------------------------------------------------------------------


def formula(value: object) -> Formula:
    """A reference's formula, or that of a constant."""
    return value._wf if isinstance(value, Reference) else Formula(literal(value))


def joined(form: str, *parts: object) -> Formula:
    """One formula out of several, `form` with a place for each."""
    formulas = [formula(part) for part in parts]
    return Formula(
        form.format(*(each.source for each in formulas)),
        tuple(use for each in formulas for use in each.uses),
        tuple(choice for each in formulas for choice in each.choices),
    )


def both(left: object, right: object) -> Reference:
    """True where both are."""
    return Reference(joined("({} and {})", left, right))


def any_of(left: object, right: object) -> Reference:
    """True where one is."""
    return Reference(joined("({} or {})", left, right))


def negated(value: object) -> Reference:
    """True where the value is not."""
    return Reference(joined("(not {})", value))


def _below(whole: Formula, part: str) -> Formula:
    return Formula(f"{_grouped(whole)}{part}", whole.uses, whole.choices, plain=whole.plain)


def _grouped(whole: Formula) -> str:
    # A call, a path or what stands in brackets already can be followed by a dot; a text with parts cannot.
    return whole.source if whole.mixed is None else f"({whole.source})"


def literal(value: object) -> str:
    """A constant as expressions write it."""
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool):
        return "none" if value is None else "true" if value else "false"
    if isinstance(value, (str, int)):
        return json.dumps(value)
    if isinstance(value, float) and math.isfinite(value):
        return json.dumps(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{literal(str(key))}: {literal(item)}" for key, item in value.items()) + "}"
    for kind, name, write in _LITERALS:
        if isinstance(value, kind):
            return f"{name}({json.dumps(write(value))})"
    raise AuthoringError(f"a {type(value).__name__} cannot stand in an expression; do it in a step", where=authors_line())


_LITERALS: tuple[tuple[type, str, Callable[[Any], str]], ...] = (
    (Decimal, "decimal", str),
    (datetime, "datetime", datetime.isoformat),
    (date, "date", date.isoformat),
    (time, "time", time.isoformat),
    (UUID, "uuid", str),
)


def references_in(value: object) -> Iterable[Reference]:
    """Every reference inside a value: in lists, tuples, dicts and dataclasses."""
    if isinstance(value, Reference):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from references_in(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from references_in(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for each in fields(value):
            yield from references_in(getattr(value, each.name))
