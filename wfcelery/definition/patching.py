"""JSON Patch (RFC 6902): an edit of a JSON value as a list of operations, all or none of which are done."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from wfcelery.errors import InvalidInput

MOST = 1_000  # operations
_FIELDS: dict[Any, set[str]] = {
    "add": {"path", "value"},
    "remove": {"path"},
    "replace": {"path", "value"},
    "move": {"from", "path"},
    "copy": {"from", "path"},
    "test": {"path", "value"},
}


def patched(document: Any, patch: Any) -> Any:
    """The value with the edit done to it; what was given stays as it is. Raises InvalidInput, which quotes no value."""
    if isinstance(patch, str | bytes | Mapping) or not isinstance(patch, Sequence):
        raise InvalidInput("edit", [("edit", 'it is a list of operations, such as {"op": "replace", "path": "/total", "value": 5}')])
    if len(patch) > MOST:
        raise InvalidInput("edit", [("edit", f"it has {len(patch)} operations, more than {MOST}")])
    wrong = [(f"edit[{number}]", fault) for number, one in enumerate(patch) if (fault := _fault(one)) is not None]
    if wrong:
        raise InvalidInput("edit", wrong)
    found = copy.deepcopy(document)
    for number, one in enumerate(patch):
        try:
            found = _done(found, one)
        except (KeyError, IndexError, ValueError) as problem:
            raise InvalidInput("edit", [(f"edit[{number}]", str(problem.args[0]))]) from None
    return found


def setting(path: str, value: Any) -> dict[str, Any]:
    """The operation that writes a value at `order.total`, or at `/order/total`."""
    pointer = path if path.startswith("/") else "/" + path.replace("~", "~0").replace("/", "~1").replace(".", "/")
    return {"op": "add", "path": pointer, "value": value}


def _fault(one: Any) -> str | None:
    if not isinstance(one, Mapping):
        return "an operation is an object with op and path"
    fields = _FIELDS.get(one.get("op")) if isinstance(one.get("op"), str) else None
    if fields is None:
        return f"its op is one of {', '.join(_FIELDS)}"
    missing = sorted(fields - one.keys())
    if missing:
        return f"it lacks {', '.join(missing)}"
    for name in fields & {"path", "from"}:
        if not isinstance(one[name], str) or (one[name] and not one[name].startswith("/")):
            return f"its {name} is a pointer, such as /order/total"
    return None


def _done(document: Any, one: Mapping[str, Any]) -> Any:
    path = _parts(one["path"])
    match one["op"]:
        case "add":
            return _added(document, path, copy.deepcopy(one["value"]))
        case "remove":
            return _removed(document, path)
        case "replace":
            _at(document, path)
            return _replaced(document, path, copy.deepcopy(one["value"]))
        case "copy":
            return _added(document, path, copy.deepcopy(_at(document, _parts(one["from"]))))
        case "move":
            source = _parts(one["from"])
            if path[: len(source)] == source and path != source:
                raise ValueError("nothing can be moved into itself")
            moved = _at(document, source)
            return _added(_removed(document, source), path, moved)
        case _:
            if not _same(_at(document, path), one["value"]):
                raise ValueError("the test of this operation says no: something else stands there")
            return document


def _parts(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _at(document: Any, path: Sequence[str]) -> Any:
    for part in path:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list):
            document = document[_index(part, len(document) - 1)]
        else:
            raise KeyError("nothing stands at its path")
    return document


def _index(part: str, last: int) -> int:
    if not part.isascii() or not part.isdigit() or (part != "0" and part.startswith("0")) or len(part) > 9 or int(part) > last:
        raise IndexError("nothing stands at its path: it has no such index")
    return int(part)


def _added(document: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _at(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent)), value)
    else:
        raise KeyError("nothing stands at its path")
    return document


def _removed(document: Any, path: Sequence[str]) -> Any:
    _at(document, path)
    if not path:
        return None
    parent, last = _at(document, path[:-1]), path[-1]
    del parent[_index(last, len(parent) - 1) if isinstance(parent, list) else last]
    return document


def _replaced(document: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    parent, last = _at(document, path[:-1]), path[-1]
    parent[_index(last, len(parent) - 1) if isinstance(parent, list) else last] = value
    return document


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON: true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(*both) for both in zip(one, other, strict=True))
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)
