"""`wf.http` and `wf.webhook`: a request to a web server, and a signed one that tells of an event."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from wfcelery.authoring.context import current_step
from wfcelery.authoring.decorators import step
from wfcelery.authoring.options import Retry
from wfcelery.builtin.addresses import Gate
from wfcelery.builtin.answers import Answer, answer_of, is_result
from wfcelery.builtin.failures import AddressRefused, InvalidCall, NotConfigured
from wfcelery.builtin.parts import part, settings
from wfcelery.builtin.signing import signed
from wfcelery.definition.spans import seconds
from wfcelery.errors import Duration, InvalidSpan
from wfcelery.settings import Credentials, Settings

Method = Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]

FormValue = str | int | float | bool
SAFE = ("GET", "HEAD", "OPTIONS")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_NOT_THEIRS = frozenset(
    {"accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)


@step(name="wf.http")
def http(
    url: str,
    method: Method = "GET",
    headers: dict[str, str] | None = None,
    json: Any = None,
    body: str | bytes | None = None,
    query: dict[str, str | int | float | bool] | None = None,
    timeout: Duration = "30s",
    expect: int | list[int] | None = None,
    credentials: str | None = None,
    form: dict[str, FormValue | list[FormValue]] | None = None,
) -> Answer:
    """Ask a web server; the result is its `status`, a few `headers`, and the `body` as JSON, text or bytes.

    Reaches only addresses that are globally reachable, or that the operator lists in `outgoing_allowed`. `timeout` (seconds or
    a span) is for the whole exchange, redirects included; they are followed for GET and HEAD. `expect` are the statuses that
    are a result, else 2xx. 4xx fails for good; 408, 425, 429, 5xx and a lost connection are tried again by the step's retry
    policy, or when the server says. A method that is not safe sends the step's key as `Idempotency-Key`. `credentials` names
    headers that the operator has set. `form` is sent as a browser sends a form; a list gives a field several times.
    """
    sending = part("exchange", "wf.http", extra="http")
    known = settings()
    content, own = _content(json, body, form)
    _refuse(_faults(headers or {}, timeout) + _of_bodies(method, json, body, form))
    if method not in SAFE:
        own["Idempotency-Key"] = current_step().key
    given = _credentials(known, credentials)
    target = sending.address(url, query)
    if given is not None and (target.scheme != "https" or target.host.lower() not in given.hosts):
        raise AddressRefused("the credentials are for other hosts, or the address does not begin with https://")
    request = sending.Outgoing(
        method,
        target,
        _merged(own, headers or {}),
        content,
        hosts=() if given is None else given.hosts,
        secret=None if given is None else {name: value.get_secret_value() for name, value in given.headers.items()},
    )
    wanted = [expect] if isinstance(expect, int) else expect
    got = sending.exchange(
        request, Gate(known.outgoing_allowed), seconds(timeout), lambda status: is_result(status, wanted), known.input_limit
    )
    return answer_of(got.status, got.headers, got.content, wanted)


class Delivery(BaseModel):
    """A webhook that was taken: under which id, with which status."""

    model_config = ConfigDict(frozen=True)

    id: str
    status: int


@step(name="wf.webhook", retry=Retry(count=12, delay="5s", backoff="exponential", max_delay="6h"))
def webhook(
    url: str,
    event: str,
    data: Any,
    secret: str = "default",  # noqa: S107 - its name
    at: datetime | None = None,
    timeout: Duration = "15s",
) -> Delivery:
    """Tell a receiver of an event: `{"type": event, "timestamp": at, "data": data}`, signed as Standard Webhooks.

    `secret` names secrets that the operator has set. The `webhook-id` is the step's idempotency key, so a receiver knows a
    delivery that comes again. `at` is when it happened (default: this attempt). Addresses, statuses and retries are those of
    `wf.http`, without redirects; it is tried for nearly six hours.
    """
    sending = part("exchange", "wf.webhook", extra="http")
    known = settings()
    keys = known.webhook_secrets.get(secret)
    if keys is None:
        raise NotConfigured(f"no secret for webhooks is called {secret}: the operator sets webhook_secrets")
    _refuse(_faults({}, timeout))
    target = sending.address(url)
    now = time.time()  # the receiver compares it with its own clock; nothing of ours is decided by it
    moment = at if at is not None else datetime.fromtimestamp(now, UTC)
    moment = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    body = to_json({"type": event, "timestamp": moment.isoformat(), "data": data})
    key = current_step().key
    headers = {"Content-Type": "application/json", **signed(key, int(now), body, (each.get_secret_value() for each in keys))}
    request = sending.Outgoing("POST", target, headers, body)
    got = sending.exchange(request, Gate(known.outgoing_allowed), seconds(timeout), _nothing, known.input_limit)
    answer_of(got.status, got.headers, b"", None)
    return Delivery(id=key, status=got.status)


def _nothing(status: int) -> bool:  # noqa: ARG001
    """What a receiver says beside its status is not read."""
    return False


def _content(json: Any, body: str | bytes | None, form: Mapping[str, Any] | None) -> tuple[bytes, dict[str, str]]:
    if json is not None:
        return to_json(json), {"Content-Type": "application/json"}
    if form is not None:
        return urlencode(list(_fields(form))).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
    if body is None:
        return b"", {}
    return (body.encode(), {"Content-Type": "text/plain; charset=utf-8"}) if isinstance(body, str) else (body, {})


def _fields(form: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Written as a `query` is: true, not True."""
    for name, value in form.items():
        for one in value if isinstance(value, list) else [value]:
            yield name, str(one).lower() if isinstance(one, bool) else str(one)


def _of_bodies(method: str, *bodies: object) -> list[str]:
    given = sum(body is not None for body in bodies)
    faults = ["give one of json, body and form, not several"] if given > 1 else []
    if method in SAFE and given:
        faults.append(f"a {method} has no body: give query, or another method")
    return faults


def _faults(headers: Mapping[str, str], timeout: Duration) -> list[str]:
    faults = []
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            faults.append("a header's name holds a character that none has")
        elif name.lower() in _NOT_THEIRS or name.lower().startswith("proxy-"):
            faults.append(f"the header {name.lower()} is not the author's to set")
        elif not _VALUE.fullmatch(value):
            faults.append(f"the header {name.lower()} holds a line break or another character that no header carries")
    try:
        if seconds(timeout) <= 0:
            faults.append("a timeout is longer than nothing")
    except InvalidSpan as fault:
        faults.append(f"timeout: {fault}")
    return faults


def _refuse(faults: list[str]) -> None:
    if faults:
        raise InvalidCall("; ".join(dict.fromkeys(faults)))


def _merged(own: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str]:
    """The author's headers over ours, whatever their letters."""
    said = {name.lower() for name in theirs}
    return {**{name: value for name, value in own.items() if name.lower() not in said}, **theirs}


def _credentials(known: Settings, name: str | None) -> Credentials | None:
    if name is None:
        return None
    found = known.http_credentials.get(name)
    if found is None:
        raise NotConfigured(f"no credentials are called {name}: the operator sets http_credentials")
    return found
