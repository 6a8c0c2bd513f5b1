"""One commit with the app: which open transaction a wish becomes part of, or waits for."""

from __future__ import annotations

from typing import Any

from wfcelery.errors import Misconfigured
from wfcelery.service.context import Context, Joined
from wfcelery.store.sessions import JoinedConnection, JoinedSession

ELSEWHERE = (
    "the open transaction is one of another database than wfcelery's tables: what is started in it starts after its commit, "
    "and is lost if this process dies in between; with a key the start may be repeated"
)


def joined_transaction(context: Context, options: dict[str, Any]) -> Joined | None:
    """The transaction that `connection=`, `session=`, `using=` or the framework's own open one means; None: our own.

    `join=False` always means our own. A given connection must point at the database of the tables; where a
    session or the framework's transaction does not, its `tx` is None, and the log says so once.
    """
    if options.get("join") is False:
        return None
    joined = _joined(context, options)
    if joined is not None and joined.tx is None:
        context.tell_once(ELSEWHERE)
    return joined


def _joined(context: Context, options: dict[str, Any]) -> Joined | None:
    session, connection = options.get("session"), options.get("connection")
    if session is not None:
        return JoinedSession(context.database, session)
    if connection is not None:
        given = JoinedConnection(context.database, connection)
        if given.tx is None:
            raise Misconfigured("the given connection points at another database than the tables of wfcelery; write join=False")
        return given
    return next((joined for joiner in context.joiners if (joined := joiner(context, options)) is not None), None)
