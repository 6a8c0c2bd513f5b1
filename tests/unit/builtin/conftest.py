"""Settings of the environment alone, and servers of the test's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.unit.builtin.servers import Mail, Web, mail_server, web_server
from wfcelery.service import context as service


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`configure(email_url=…)`: what the operator sets; nothing is set before."""
    monkeypatch.setattr(service, "_make", None)
    monkeypatch.setattr(service, "_current", None)
    monkeypatch.delenv("WFCELERY_DATABASE_URL", raising=False)

    def say(**settings: Any) -> None:
        for name, value in settings.items():
            monkeypatch.setenv(f"WFCELERY_{name.upper()}", value if isinstance(value, str) else json.dumps(value))

    return say


@pytest.fixture
def web(configure: Callable[..., None]) -> Iterator[Web]:
    """A web server that workflows may reach, because the operator lists 127.0.0.1."""
    configure(outgoing_allowed=["127.0.0.1"])
    with web_server() as server:
        yield server


@pytest.fixture
def mail(configure: Callable[..., None]) -> Iterator[Mail]:
    """A mail server on the same machine, as the operator has set it."""
    with mail_server() as server:
        configure(email_url=f"smtp+plain://127.0.0.1:{server.port}", email_from="Shop <shop@example.com>")
        yield server
