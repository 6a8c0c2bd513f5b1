"""Steps that every worker knows without any code of the author's: `wf.http`, `wf.webhook`, `wf.email`, `wf.sql`, `wf.noop`, `wf.fail`.

    from wfcelery.builtin import http

    @workflow
    def watch(url: str) -> int:
        return http(url).status

In YAML they are called by name: `action: wf.http`. Each is loaded when it is first used, and what it needs, such as
httpx, when it is first executed. What they may reach is the operator's to say: addresses inside the network, the mail
server, databases and secrets are settings, and a definition only names them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wfcelery.builtin.answers import Answer
    from wfcelery.builtin.asking import sql
    from wfcelery.builtin.calling_out import Delivery, http, webhook
    from wfcelery.builtin.mailing import Attachment, Sent, email
    from wfcelery.builtin.plain import fail, noop

__all__ = ["Answer", "Attachment", "Delivery", "Sent", "email", "fail", "http", "noop", "sql", "webhook"]

_HOMES = {
    "answers": "Answer",
    "asking": "sql",
    "calling_out": "Delivery http webhook",
    "mailing": "Attachment Sent email",
    "plain": "fail noop",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
