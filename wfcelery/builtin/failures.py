"""How a built-in step fails: the names by which `error.type` tells one failure from another, each with a code.

None quotes an address, a body, a statement's values or what a server said: errors are kept, logged and shown.
"""

# The names are read after `error.type ==`, and say what happened.
# ruff: noqa: N818

from __future__ import annotations

from wfcelery.errors import GiveUp, RetryLater, WfceleryError


class ForGood(GiveUp):
    """There is no point in trying again."""

    def __init__(self, reason: str, code: str | None = None) -> None:
        super().__init__(reason)
        if code is not None:
            self.code = code


class ForNow(WfceleryError):
    """It may go well another time: the step's retry policy says when."""

    def __init__(self, reason: str, code: str) -> None:
        super().__init__(reason)
        self.code = code


# ---- before anything was sent ----------------------------------------------------------------------------------------


class InvalidCall(ForGood):
    """The arguments do not make a call. Everything wrong with them is told at once."""

    code = "invalid_call"


class NotConfigured(ForGood):
    """The operator has not set what the step needs."""

    code = "not_configured"


class NotInstalled(ForGood):
    """The worker lacks a package."""

    code = "not_installed"


class AddressRefused(ForGood):
    """The address, or one that it led to, is none that a workflow may reach."""

    code = "address_refused"


# ---- HTTP ------------------------------------------------------------------------------------------------------------


class ConnectionFailed(ForNow):
    """No answer: `dns`, `connection`, `tls`, `timeout` or `protocol` is the code."""


class HttpClientError(ForGood):
    """The server refuses the request: 4xx, which is the code."""


class HttpServerError(ForNow):
    """The server cannot answer now: 5xx, 408, 425 or 429, which is the code."""


class HttpServerBusy(RetryLater):
    """The same, and the server has said when to come again."""

    def __init__(self, after: float, reason: str, code: str) -> None:
        super().__init__(after, reason)
        self.code = code


class UnexpectedAnswer(ForGood):
    """An answer that was not asked for: its status is the code, or `too_large`, `bad_json`, `encoded`."""


# ---- mail ------------------------------------------------------------------------------------------------------------


class MailRefused(ForGood):
    """The mail server refuses for good: 5xx, which is the code."""


class MailDeferred(ForNow):
    """The mail server refuses for now, or cannot be reached: 4xx or `connection` is the code."""


# ---- databases -------------------------------------------------------------------------------------------------------


class StatementRefused(ForGood):
    """The database refuses the statement: its SQLSTATE, or SQLite's name for the fault, is the code."""


class StatementFailed(ForNow):
    """The database could not execute it now: the same codes, or `connection`."""


# ---- on purpose ------------------------------------------------------------------------------------------------------


class Fail(ForGood):
    """`wf.fail`: the workflow's author wants the run to fail here."""

    code = "fail"
