"""What may be kept of an exception: its type, a code if it has one, the beginning of its message.

No trace, no folder of the machine, no password of a URL, and nothing that a database driver quotes of a statement.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError

LONGEST = 500
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")
_QUOTED = re.compile(r"\n\s*(\[SQL: |\[parameters: |DETAIL: |LINE \d+: ).*", re.DOTALL)
_FOLDERS = re.compile(r"""(?<![\w:/.])(?:[A-Za-z]:)?[/\\](?:[^\s/\\'"]+[/\\])+""")
_PASSWORD = re.compile(r"://[^\s/@]+@")


def error_of(error: BaseException) -> dict[str, Any]:
    """{type, code, message} of what an author's code raised."""
    return {"type": type(error).__name__, "code": _code(error), "message": clean(redacted(_message(error)))}


def error(kind: str, code: str | None, message: str) -> dict[str, Any]:
    """The same, for what we have to say ourselves."""
    return {"type": kind, "code": code, "message": clean(message)}


def clean(text: str) -> str:
    """Text that every database can hold, and not too much of it."""
    return _UNPRINTABLE.sub("?", text[: LONGEST + 1])[:LONGEST]


def redacted(text: str) -> str:
    """The text without what drivers and operating systems put into their messages beside what went wrong."""
    return _PASSWORD.sub("://…@", _FOLDERS.sub("…/", _QUOTED.sub("", text)))


def _code(error: BaseException) -> str | None:
    found = getattr(error, "code", None)
    return clean(str(found))[:100] if isinstance(found, str | int) and not isinstance(found, bool) else None


def _message(error: BaseException) -> str:
    if isinstance(error, ValidationError):
        # Its own text quotes the values that do not fit.
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'value'}: {each['msg']}" for each in found)
    try:
        return str(error)
    except Exception as second:  # noqa: BLE001 - the author's own __str__
        return f"(its message could not be made: {type(second).__name__})"
