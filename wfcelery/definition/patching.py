"""JSON Patch (RFC 6902): an edit of a JSON value as a list of operations, all or none of which are done.

What an operation does is the library's, `jsonpatch`; what is said of one that cannot be done is ours, and quotes no value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from importlib import import_module
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
    library: Any = import_module("jsonpatch")  # late, as few processes ever edit anything
    found = deepcopy(document)
    for number, one in enumerate(patch):
        try:
            found = library.JsonPatch([deepcopy(dict(one))]).apply(found, in_place=True)
        except library.JsonPatchTestFailed:
            why = "the test of this operation says no: something else stands there, or nothing"
            raise InvalidInput("edit", [(f"edit[{number}]", why)]) from None
        except (library.JsonPatchException, library.JsonPointerException):
            inside = one["op"] == "move" and one["path"].startswith(one["from"] + "/")
            why = "nothing can be moved into itself" if inside else "nothing stands at its path, or nothing can be put there"
            raise InvalidInput("edit", [(f"edit[{number}]", why)]) from None
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
