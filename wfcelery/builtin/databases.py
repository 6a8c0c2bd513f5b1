"""The databases of `wf.sql`: ours, in the step's own transaction, and others, each statement in one of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wfcelery.builtin.failures import InvalidCall, NotInstalled, StatementFailed, StatementRefused
from wfcelery.errors import Misconfigured
from wfcelery.store import authored
from wfcelery.store.authored import Fault, TooManyRows, Unbound


def ask_own(connection: Any, statement: str, values: Mapping[str, Any], limit: int) -> Any:
    """In the transaction that records the step's result. A clash of transactions is raised as it is: the engine repeats it all."""
    return _told(lambda: authored.execute(connection, statement, values, limit), limit)


def ask(url: str, statement: str, values: Mapping[str, Any], limit: int, seconds: float) -> Any:
    """In a transaction of its own on a connection of its own."""
    return _told(lambda: authored.execute_on(url, statement, values, limit, seconds), limit)


def _told(act: Any, limit: int) -> Any:
    try:
        return act()
    except Unbound as wrong:
        raise InvalidCall(str(wrong)) from None
    except TooManyRows:
        raise StatementRefused(f"there are more than {limit} rows: ask for fewer, or give a larger limit", "too_many_rows") from None
    except Misconfigured as missing:
        raise NotInstalled(str(missing)) from None
    except Fault as fault:
        raise (StatementRefused if fault.final else StatementFailed)(str(fault), fault.code) from None
