"""Which events start a workflow: `@workflow(triggers=[on_event("order.placed", …)])`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wfcelery.errors import AuthoringError


@dataclass(frozen=True, slots=True)
class OnEvent:
    """Start a run for each event of this name; made by `on_event`."""

    event: str
    when: str | None = None
    input: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None

    def document(self) -> dict[str, Any]:
        """The same, as a definition writes it."""
        said: dict[str, Any] = {"event": self.event, "input": dict(self.input)}
        if self.when is not None:
            said["when"] = self.when
        if self.key is not None:
            said["key"] = self.key
        return said


def on_event(event: str, /, *, when: str | None = None, input: Mapping[str, Any] | None = None, key: str | None = None) -> OnEvent:  # noqa: A002
    """A trigger: each event of this name for which `when` holds starts a run, in the transaction that sends the event.

    `when` is an expression over `event` (`event.data.amount > 5`); `input` has the workflow's parameters as names, and `key` the run's
    key, both with templates: `{"order": "{{ event.data.id }}"}`.
    """
    if not isinstance(event, str) or not event:
        raise AuthoringError(f"on_event() takes the name of an event, a text, not {event!r}")
    return OnEvent(event, when, dict(input or {}), key)
