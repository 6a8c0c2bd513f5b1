"""Secret places in values: as schemas mark them, as definitions write them, and `***` in them where people read.

A path is a tuple of keys and numbers; `*` means any of them; the empty path is the value itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from wfcelery.definition.secrets import HIDDEN
from wfcelery.definition.values import MARK, mark_of

Path = tuple[str | int, ...]
Paths = frozenset[Path]
ANY = "*"
_DEEPEST = 12  # of schemas within each other
_PART = re.compile(r"\.?([^.\[\]]+)|\[(\d+|\*)\]")


# ---- what a definition says ------------------------------------------------------------------------------------------


def of_schema(schema: Mapping[str, Any]) -> Paths:
    """The fields that a JSON schema marks as secret."""
    return frozenset(_of_schema(schema, schema.get("$defs", {}), 0))


def _of_schema(schema: Any, known: Mapping[str, Any], depth: int) -> Iterator[Path]:
    if not isinstance(schema, Mapping):
        return
    if schema.get("secret") is True or schema.get("writeOnly") is True:
        yield ()
        return
    if depth > _DEEPEST:
        return
    if "$ref" in schema:
        yield from _of_schema(known.get(str(schema["$ref"]).rpartition("/")[2]), known, depth + 1)
    for union in ("anyOf", "oneOf", "allOf"):
        for each in schema.get(union, ()):
            yield from _of_schema(each, known, depth + 1)
    for name, each in dict(schema.get("properties") or {}).items():
        yield from ((name, *path) for path in _of_schema(each, known, depth + 1))
    for where in ("items", "additionalProperties"):
        yield from ((ANY, *path) for path in _of_schema(schema.get(where), known, depth + 1))
    for number, each in enumerate(schema.get("prefixItems", ())):
        yield from ((number, *path) for path in _of_schema(each, known, depth + 1))


def path_of(written: str) -> Path:
    """`card.number`, `lines[*].token`, or `*` for all of it, as a path. Raises ValueError."""
    if written == ANY:
        return ()
    parts: list[str | int] = []
    at = 0
    while at < len(written):
        found = _PART.match(written, at)
        if found is None:
            raise ValueError(f"{written!r} is no path: write card.number, lines[*].token, or * for all of it")
        number = found[2]
        parts.append(found[1] if number is None else int(number) if number.isdigit() else ANY)
        at = found.end()
    return tuple(parts)


def text_of(path: Path) -> str:
    """A path as definitions write it."""
    if not path:
        return ANY
    text = "".join(f"[{part}]" if isinstance(part, int) or part == ANY else f".{part}" for part in path)
    return text.removeprefix(".")


# ---- what people read ------------------------------------------------------------------------------------------------


def redacted(stored: Any, paths: Iterable[Path]) -> Any:
    """A stored value with `***` in its secret places. The one that is kept stays whole."""
    paths = list(paths)
    if not paths:
        return stored
    if () in paths:
        return None if stored is None else HIDDEN
    mark = mark_of(stored)
    if mark is not None:
        return {MARK: [mark[0], redacted(mark[1], paths)]} if mark[0] in ("literal", "failed") else stored
    if isinstance(stored, list):
        return [redacted(each, _inside(paths, number)) for number, each in enumerate(stored)]
    if isinstance(stored, Mapping):
        return {key: redacted(each, _inside(paths, key)) for key, each in stored.items()}
    return stored


def _inside(paths: Iterable[Path], key: str | int) -> list[Path]:
    return [path[1:] for path in paths if path and (path[0] == ANY or str(path[0]) == str(key))]


def texts_at(stored: Any, paths: Iterable[Path]) -> Iterator[str]:
    """The texts and numbers in the secret places of a value, for what must not quote them."""
    for path in paths:
        yield from _texts(stored, path)


def _texts(stored: Any, path: Path) -> Iterator[str]:
    mark = mark_of(stored)
    if mark is not None:
        stored = mark[1]
    if isinstance(stored, Mapping):
        for key, each in stored.items():
            if not path or path[0] == ANY or str(path[0]) == str(key):
                yield from _texts(each, path[1:])
    elif isinstance(stored, list):
        for number, each in enumerate(stored):
            if not path or path[0] in (ANY, number, str(number)):
                yield from _texts(each, path[1:])
    elif not path and stored is not None and not isinstance(stored, bool):
        yield str(stored)
