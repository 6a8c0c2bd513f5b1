"""One request and its answer over httpx's own engine: each connection through the gate, the whole under one deadline.

httpx reads the address and writes the request; its client is left out, because it logs each address, takes proxies from the
environment and follows redirects by rules of its own.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import httpcore
import httpx

from wfcelery.builtin.addresses import Gate
from wfcelery.builtin.compressed import ASKED_FOR, plain
from wfcelery.builtin.failures import AddressRefused, ConnectionFailed, InvalidCall, UnexpectedAnswer
from wfcelery.clock import monotonic

MOST_REDIRECTS = 3
CHUNK = 65_536
AGENT = "wfcelery"
FOLLOWED = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True, repr=False)
class Outgoing:
    """A request. `headers` are the author's, `secret` those that only `hosts` may see; so nobody prints one."""

    method: str
    url: httpx.URL
    headers: Mapping[str, str]
    content: bytes = b""
    hosts: tuple[str, ...] = ()
    secret: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """An answer; the names of its headers have small letters."""

    status: int
    headers: dict[str, str]
    content: bytes


def address(url: str, query: Mapping[str, Any] | None = None) -> httpx.URL:
    """The address as it will be asked for. `InvalidCall` says what is wrong with it, `AddressRefused` what is not allowed in one."""
    try:
        found = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise InvalidCall("url is no address: write https://host/path") from None
    if found.scheme not in ("http", "https") or not found.host:
        raise AddressRefused("an address begins with https:// or http:// and names a host")
    if found.userinfo:
        raise AddressRefused("an address holds no user and no password: name credentials that the operator has set")
    return found.copy_merge_params(query) if query else found


def exchange(request: Outgoing, gate: Gate, seconds: float, wanted: Callable[[int], bool], limit: int) -> Received:
    """Send it and read the answer: its body where its status is `wanted`, at most `limit` bytes, and else no more than its head.

    Redirects of GET and HEAD are followed, at most three. Raises AddressRefused, ConnectionFailed and UnexpectedAnswer.
    """
    deadline = Deadline(seconds)
    for _ in range(MOST_REDIRECTS + 1):
        received = _asked(request, gate, deadline, wanted, limit)
        onward = _onward(request, received)
        if onward is None:
            return received
        request = onward
    raise UnexpectedAnswer(f"there are more than {MOST_REDIRECTS} redirects", str(received.status))


def _onward(request: Outgoing, received: Received) -> Outgoing | None:
    """The request that a redirect asks for. Another host gets none of the author's headers, and TLS is never left."""
    location = received.headers.get("location")
    if received.status not in FOLLOWED or location is None or request.method not in ("GET", "HEAD"):
        return None
    try:
        target = address(str(request.url.join(location)))
    except (httpx.InvalidURL, InvalidCall, ValueError):
        raise UnexpectedAnswer("the server redirects to what is no address", str(received.status)) from None
    if request.url.scheme == "https" and target.scheme != "https":
        raise AddressRefused("the server redirects from https:// to http://")
    same = (target.scheme, target.host, target.port) == (request.url.scheme, request.url.host, request.url.port)
    return replace(request, url=target, headers=request.headers if same else {})


def _asked(request: Outgoing, gate: Gate, deadline: Deadline, wanted: Callable[[int], bool], limit: int) -> Received:
    made = httpx.Request(request.method, request.url, headers=_headers(request), content=request.content or None)
    url = httpcore.URL(scheme=made.url.raw_scheme, host=made.url.raw_host, port=made.url.port, target=made.url.raw_path)
    before = _SENDING.set(True)
    _keep_quiet()
    try:
        with (
            httpcore.ConnectionPool(ssl_context=_tls(), max_connections=1, network_backend=Guarded(gate, deadline)) as pool,
            pool.stream(made.method, url, headers=made.headers.raw, content=_chunks(request.content)) as answer,
        ):
            headers = {name.decode("ascii").lower(): value.decode("latin-1") for name, value in answer.headers}
            return Received(answer.status, headers, _body(answer, headers, limit) if wanted(answer.status) else b"")
    except (httpcore.TimeoutException, TimeoutError):
        raise ConnectionFailed(f"there was no whole answer within {deadline.seconds:g} s", "timeout") from None
    except httpcore.NetworkError:
        raise ConnectionFailed("the connection could not be made, or was lost", "connection") from None
    except (httpcore.ProtocolError, httpcore.UnsupportedProtocol, UnicodeDecodeError):
        raise ConnectionFailed("what came was no whole HTTP answer", "protocol") from None
    finally:
        _SENDING.reset(before)


def _headers(request: Outgoing) -> dict[str, str]:
    """Ours, the author's over them, and the operator's over both where the host is one of theirs and the way is TLS."""
    said = {"user-agent": AGENT, "accept": "*/*", "accept-encoding": ASKED_FOR, "connection": "close"}
    said |= {name.lower(): value for name, value in request.headers.items()}
    if request.secret and request.url.host.lower() in request.hosts and request.url.scheme == "https":
        said |= {name.lower(): value for name, value in request.secret.items()}
    return said


def _chunks(content: bytes) -> Iterator[bytes] | None:
    """In parts, so that the deadline is looked at between them."""
    return (content[at : at + CHUNK] for at in range(0, len(content), CHUNK)) if content else None


def _body(answer: httpcore.Response, headers: Mapping[str, str], limit: int) -> bytes:
    return plain(answer.iter_stream(), headers.get("content-encoding", "").strip().lower(), limit)


@cache
def _tls() -> ssl.SSLContext:
    """Whom to trust: `SSL_CERT_FILE` or `SSL_CERT_DIR` where they are set, else the authorities that httpx ships with."""
    return httpx.create_ssl_context()


# ---- the way out -----------------------------------------------------------------------------------------------------


class Deadline:
    """When the whole exchange must be over."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = monotonic() + seconds

    def left(self) -> float:
        """Seconds. Raises TimeoutError where there are none."""
        left = self._ends - monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class Guarded(httpcore.NetworkBackend):
    """Connects to addresses that the gate lets through, and to nothing else."""

    def __init__(self, gate: Gate, deadline: Deadline) -> None:
        self._gate, self._deadline = gate, deadline
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline is for the whole
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve once, judge all, try each."""
        found = self._gate.addresses(host, port, self._deadline.left())
        for number, address in enumerate(found, 1):
            share = self._deadline.left() / (len(found) - number + 1)
            try:
                stream = self._backend.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(found):
                    raise
            else:
                return Timed(stream, self._deadline)
        raise httpcore.ConnectError


class Timed(httpcore.NetworkStream):
    """A connection that knows when all must be over: a server that sends a byte now and then holds up nobody."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        """What has come."""
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        """Send all of it."""
        self._stream.write(buffer, self._deadline.left())

    def close(self) -> None:
        """Let go."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        """The certificate is compared with the name that was asked for, not with the address."""
        try:
            return Timed(self._stream.start_tls(ssl_context, server_hostname, self._deadline.left()), self._deadline)
        except httpcore.ConnectError as problem:
            if isinstance(problem.__cause__, ssl.SSLError):
                raise ConnectionFailed("the server's certificate or its TLS is not to be trusted", "tls") from None
            raise

    def get_extra_info(self, info: str) -> Any:
        """What the connection knows of itself."""
        return self._stream.get_extra_info(info)


# ---- logs ------------------------------------------------------------------------------------------------------------

_SENDING: ContextVar[bool] = ContextVar("wfcelery_sending", default=False)


class KeepQuiet(logging.Filter):
    """httpcore's debug log holds headers, and with them secrets. Of our requests it says nothing, of the app's own what it says."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002
        return not _SENDING.get()


_QUIET = KeepQuiet()


@cache
def _keep_quiet() -> None:
    for name in ("httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy"):
        logging.getLogger(name).addFilter(_QUIET)
