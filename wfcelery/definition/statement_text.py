"""The text of a statement of SQL, as far as it has to be understood: where texts and comments are, and whether it is one statement."""

from __future__ import annotations

import re

_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|--[^\n]*|/\*.*?\*/""", re.DOTALL)
_APART = re.compile(_QUOTED.pattern + "|::", re.DOTALL)
_OF_TRANSACTIONS = frozenset({"abort", "begin", "commit", "end", "release", "rollback", "savepoint", "start"})


def fault_of_statement(statement: str) -> str | None:
    """Why this text is not one statement that may be executed in a transaction of ours, or None."""
    bare = _QUOTED.sub(" ", statement).strip().rstrip(";").strip()
    if not bare:
        return "it holds no statement"
    if ";" in bare:
        return "it holds more than one statement: make each a task of its own"
    first = re.match(r"\w*", bare)
    if first is not None and first[0].lower() in _OF_TRANSACTIONS:
        return "each statement has a transaction of its own, which it cannot begin or end itself"
    return None


def with_colons_escaped(statement: str) -> str:
    r"""The text as SQLAlchemy reads it: a colon in a text, a comment or a cast (`:at::date`) begins no name of a value."""

    def escaped(found: re.Match[str]) -> str:
        return found[0].replace(r"\:", ":").replace(":", r"\:")

    return _APART.sub(escaped, statement)
