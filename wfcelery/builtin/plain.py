"""`wf.noop` and `wf.fail`: nothing, and the end."""

from __future__ import annotations

from typing import Any

from wfcelery.authoring.decorators import step
from wfcelery.builtin.failures import Fail


@step(name="wf.noop", retry=None)
def noop(value: Any = None) -> Any:
    """Do nothing, and give back `value`: a place in the graph where ways meet, or a value under a name of its own."""
    return value


@step(name="wf.fail", retry=None)
def fail(message: str, code: str | None = None) -> None:
    """Fail for good, with this message and code as the step's error; a transition or `on_error` handles it like any other."""
    raise Fail(message, code)
