"""The stored form of a value: what a row, a template and a reference can hold, and the way there and back.

Stored form is JSON-able Python in which `{"$wf": [tag, ...]}` marks what JSON cannot say: datetime,
date, time, decimal, uuid, bytes, an author's dict that has a "$wf" key itself (literal), a reference
to a value recorded elsewhere (ref), and the failed item of a fan-out (failed).
"""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from pydantic_core import PydanticSerializationError, from_json, to_json, to_jsonable_python

from wfcelery.definition.extent import MOST_VALUES, check_extent, too_many
from wfcelery.definition.tokens import dotted
from wfcelery.errors import CannotCarry, CannotRead, ExpressionError, Failed, StepError, ValueProblem

MARK = "$wf"
MISSING: Any = type("Missing", (), {"__repr__": lambda _: "MISSING"})()  # what `walk` finds where nothing is

_DEEPEST = 120  # levels of stored form; what a template puts around a value must still be readable: JSON readers stop at 200
_HIDING = (SecretStr, SecretBytes, Secret)
_LONGEST_INTEGER = 10**4000  # JSON readers, ours included, stop at 4,300 digits

# (root, name) -> the parameter's or variable's value, or the task's {"result": ..., "error": ...}
Lookup = Callable[[str, str], Any]


# ---- in --------------------------------------------------------------------------------------------------------------


def encode(value: Any) -> Any:
    """The stored form of any Python value that can be carried; raises `CannotCarry` with the path to what cannot."""
    try:
        return _encode(value, "", 0, [MOST_VALUES])
    except ValueProblem:
        raise
    except Exception as error:
        raise CannotCarry("", _kind(value), f"reading it raised {_kind(error)}") from error


def _kind(value: Any) -> str:
    """The name of its type, where the author's own metaclass would not give it."""
    return str(type.__dict__["__name__"].__get__(type(value)))


def _encode(value: Any, path: str, depth: int, room: list[int]) -> Any:
    room[0] -= 1
    if room[0] < 0:
        raise too_many(path)
    kind = type(value)
    if kind is str:
        return _text(value, path)
    if value is None or kind is bool:
        return value
    if kind is int:
        return _integer(value, path)
    if kind is float:
        return _number(value, path)
    if depth > _DEEPEST:
        raise CannotCarry(path[:80], _kind(value), f"it is nested more than {_DEEPEST} levels deep, or contains itself")
    if kind is dict:
        return _mapping(value, path, depth, room)
    if kind is list or kind is tuple:
        return [_encode(item, f"{path}[{index}]", depth + 1, room) for index, item in enumerate(value)]
    return _encode_other(value, path, depth, room)


def _encode_other(value: Any, path: str, depth: int, room: list[int]) -> Any:
    marked = _mark(value, path)
    if marked is not None:
        return {MARK: marked}
    if isinstance(value, Enum):
        return _encode(value.value, path, depth + 1, room)
    if isinstance(value, str):
        return _text(str.__str__(value), path)
    if isinstance(value, int):
        return _integer(int(value), path)
    if isinstance(value, float):
        return _number(float(value), path)
    if isinstance(value, _HIDING):
        return _encode(value.get_secret_value(), path, depth, room)  # it stays whole for replay; whoever shows it hides it
    if isinstance(value, BaseModel):
        check_extent(value)
        return _encode(_jsonable_leaves(value.model_dump(mode="python")), path, depth + 1, room)
    if isinstance(value, Failed):
        error = {"type": value.error.type, "code": value.error.code, "message": value.error.message}
        kept = {"index": value.index, "item": value.item, "error": error}
        return {MARK: ["failed", _mapping(kept, path, depth + 2, room)]}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _mapping({field.name: getattr(value, field.name) for field in dataclasses.fields(value)}, path, depth, room)
    if isinstance(value, Mapping):
        return _mapping(value, path, depth, room)
    if isinstance(value, (list, tuple, AbstractSet)):
        return [_encode(item, f"{path}[{index}]", depth + 1, room) for index, item in enumerate(value)]
    raise CannotCarry(path, _kind(value))


def _mark(value: Any, path: str) -> list[Any] | None:
    if isinstance(value, datetime):
        return ["datetime", value.isoformat()]
    if isinstance(value, date):
        return ["date", value.isoformat()]
    if isinstance(value, time):
        return ["time", value.isoformat()]
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise CannotCarry(path, "Decimal", f"{value} is not a number")
        return ["decimal", str(value)]
    if isinstance(value, UUID):
        return ["uuid", str(value)]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return ["bytes", base64.b64encode(bytes(value)).decode("ascii")]
    return None


def _jsonable_leaves(value: Any) -> Any:
    """A dumped model. What only pydantic knows how to write (a path, a URL, a span) it also knows how to read back."""
    if isinstance(value, dict):
        return {key: _jsonable_leaves(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, AbstractSet)):
        return [_jsonable_leaves(item) for item in value]
    if value is None or isinstance(value, (str, int, float, datetime, date, time, Decimal, UUID, bytes, Enum, Failed, *_HIDING)):
        return value
    try:
        return to_jsonable_python(value)
    except PydanticSerializationError:
        return value  # `encode` says what it is, and where


def _mapping(value: Mapping[Any, Any], path: str, depth: int, room: list[int]) -> dict[str, Any]:
    stored: dict[str, Any] = {}
    if MARK in value:
        depth += 2  # it is kept inside a mark
    for key, item in value.items():
        if type(key) is str:
            name = key if key.isascii() else _text(key, path)
        elif isinstance(key, Enum) and isinstance(key.value, str):
            name = _text(str.__str__(key.value), path)
        elif isinstance(key, str):
            name = _text(str.__str__(key), path)
        elif isinstance(key, int) and not isinstance(key, bool):
            name = str(_integer(int(key), path))  # as JSON does; an annotation int turns it back
        elif isinstance(key, UUID):
            name = str(key)
        else:
            raise CannotCarry(path, f"dict with a key of type {_kind(key)}", "keys are strings")
        if name in stored:
            raise CannotCarry(path, "dict", "two of its keys are the same once they are strings")
        stored[name] = _encode(item, f"{path}.{name}" if path else name, depth + 1, room)
    return {MARK: ["literal", stored]} if MARK in stored else stored


def _text(value: str, path: str) -> str:
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise CannotCarry(path, "str", "it holds half of a surrogate pair, which is no text") from error
    return value


def _integer(value: int, path: str) -> int:
    if not -_LONGEST_INTEGER < value < _LONGEST_INTEGER:
        raise CannotCarry(path, "int", "it has more than 4,000 digits")
    return value


def _number(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise CannotCarry(path, "float", f"{value} is not a number in JSON")
    return value


# ---- out -------------------------------------------------------------------------------------------------------------


def mark_of(stored: Any) -> list[Any] | None:
    """`[tag, ...]` where the value is a mark, else None."""
    if type(stored) is dict and len(stored) == 1 and MARK in stored:
        mark = stored[MARK]
        if type(mark) is list and len(mark) > 1 and type(mark[0]) is str:
            return mark
    return None


def decode(stored: Any) -> Any:
    """The Python value of a stored one. References must have been resolved before."""
    kind = type(stored)
    if kind is dict:
        mark = mark_of(stored)
        return _revive(mark) if mark is not None else {key: decode(item) for key, item in stored.items()}
    if kind is list:
        return [decode(item) for item in stored]
    return stored


def _revive(mark: Sequence[Any]) -> Any:
    tag, kept = mark[0], mark[1]
    if tag == "literal":
        return {key: decode(item) for key, item in kept.items()}
    if tag == "failed":
        return Failed(kept.get("index"), decode(kept.get("item")), StepError.of(kept.get("error")))
    revive = _REVIVERS.get(tag)
    if revive is None:
        raise _unread(tag)
    return revive(kept)


_REVIVERS: Mapping[str, Callable[[str], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "decimal": Decimal,
    "uuid": UUID,
    "bytes": base64.b64decode,
}
_KEPT_BACK = {
    "coded": "it is encoded, and this process has not the codec or the key that reads it",
    "payload": "it is kept beside its row, and is not to be had there",
}


def is_kept_back(stored: Any) -> bool:
    """Whether it stands for a value that cannot be read here."""
    return (mark_of(stored) or ("",))[0] in _KEPT_BACK


def _unread(tag: str) -> Exception:
    """What is said of a mark that nobody can look into here."""
    if tag in _KEPT_BACK:
        return CannotRead(f"a stored value cannot be read: {_KEPT_BACK[tag]}")
    return ValueProblem(f"a stored value is marked {tag!r}, which this release does not read")


def for_template(stored: Any) -> Any:
    """The value as templates see it: a Decimal is a number, a datetime an ISO string in UTC. Always a copy."""
    kind = type(stored)
    if kind is dict:
        mark = mark_of(stored)
        return _shown(mark) if mark is not None else {key: for_template(item) for key, item in stored.items()}
    if kind is list:
        return [for_template(item) for item in stored]
    return stored


def _shown(mark: Sequence[Any]) -> Any:
    tag, kept = mark[0], mark[1]
    if tag == "decimal":
        number = Decimal(kept)
        return int(number) if number == number.to_integral_value() and abs(number.adjusted()) < 30 else float(number)
    if tag == "datetime":
        return _in_utc(datetime.fromisoformat(kept)).isoformat()
    if tag in ("literal", "failed"):
        return {key: for_template(item) for key, item in kept.items()}
    if tag in _KEPT_BACK:
        raise _unread(tag)
    return kept


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the first or the last day that there is
        return moment


def as_text(stored: Any) -> str:
    """The value inside a longer text: a Decimal with all its digits, lists and dicts as JSON."""
    kind = type(stored)
    if kind is str:
        return str(stored)
    mark = mark_of(stored)
    if mark is not None and mark[0] in ("decimal", "uuid", "date", "time", "bytes"):
        return str(mark[1])
    shown = for_template(stored)
    if isinstance(shown, str):
        return shown
    return dumps(shown)


# ---- references ------------------------------------------------------------------------------------------------------


def reference(root: str, *path: str | int) -> dict[str, Any]:
    """A mark that stands for a value recorded elsewhere: `reference("task", "charge", "result", "total")`."""
    return {MARK: ["ref", root, *path]}


def references(stored: Any) -> frozenset[str]:
    """The tasks whose records a stored value refers to."""
    if type(stored) not in (dict, list):
        return frozenset()
    found: set[str] = set()
    _collect(stored, found)
    return frozenset(found)


def _collect(stored: Any, found: set[str]) -> None:
    for value in _inside(stored):
        mark = mark_of(value)
        if mark is not None and mark[0] == "ref":
            if mark[1] == "task":
                found.add(mark[2])
        else:
            _collect(value, found)


def _inside(stored: Any) -> Iterable[Any]:
    mark = mark_of(stored)
    if mark is not None:
        return (stored,) if mark[0] == "ref" else _inside(mark[1]) if mark[0] == "literal" else ()
    if type(stored) is dict:
        return stored.values()
    return stored if type(stored) is list else ()


def resolve(stored: Any, lookup: Lookup) -> Any:
    """The value with every reference replaced by what it stands for. `lookup` gets the root and the name."""
    kind = type(stored)
    if kind is list:
        return [resolve(item, lookup) for item in stored]
    if kind is not dict:
        return stored
    mark = mark_of(stored)
    if mark is None:
        return {key: resolve(item, lookup) for key, item in stored.items()}
    if mark[0] == "ref":
        root, name, path = mark[1], mark[2], mark[3:]
        value = walk(lookup(root, name), path)
        if value is MISSING:
            raise ExpressionError(dotted((root, name, *path)), "it is undefined")
        return _readable(value)
    if mark[0] == "literal":
        return {MARK: ["literal", {key: resolve(item, lookup) for key, item in mark[1].items()}]}
    return _readable(stored)


def _readable(stored: Any) -> Any:
    if is_kept_back(stored):
        raise _unread(stored[MARK][0])
    return stored


def walk(stored: Any, path: Iterable[str | int]) -> Any:
    """What lies at `path` below a stored value, or `MISSING`. Keys are data, whatever their names."""
    for part in path:
        if type(stored) is dict:
            mark = mark_of(stored)
            if mark is not None:
                if mark[0] not in ("literal", "failed"):
                    _readable(stored)
                    return MISSING
                stored = mark[1]
            stored = stored.get(part if type(part) is str else str(part), MISSING)
        elif type(stored) is list:
            if type(part) is not int or not -len(stored) <= part < len(stored):
                return MISSING
            stored = stored[part]
        elif isinstance(stored, Mapping):
            stored = stored.get(part, MISSING)
        else:
            return MISSING
        if stored is MISSING:
            return MISSING
    return stored


# ---- text ------------------------------------------------------------------------------------------------------------


def dumps(stored: Any) -> str:
    """A stored value as JSON text, as rows hold it."""
    return to_json(stored).decode("utf-8")


def loads(text: str | bytes) -> Any:
    """The stored value of a row's JSON text."""
    return from_json(text)
