"""`wf.http`: what a server's answer comes to."""

from __future__ import annotations

import gzip
import logging
import ssl
import time
import tracemalloc
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import httpx
import pytest

from tests.unit.builtin.servers import CERTIFICATE, Web, web_server
from wfcelery.authoring.context import StepContext, step_context
from wfcelery.builtin import Answer, exchange, http
from wfcelery.builtin.compressed import plain
from wfcelery.builtin.failures import (
    AddressRefused,
    ConnectionFailed,
    HttpClientError,
    HttpServerBusy,
    HttpServerError,
    InvalidCall,
    NotConfigured,
    UnexpectedAnswer,
)
from wfcelery.errors import GiveUp

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def secured(configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A web server with TLS, whose certificate is trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    exchange._tls.cache_clear()
    configure(outgoing_allowed=["localhost", "127.0.0.1"])
    with web_server(secured=True) as server:
        yield server
    exchange._tls.cache_clear()


@pytest.mark.parametrize(
    ("kind", "content", "body"),
    [
        ("application/json", b'{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
        ("application/problem+json; charset=utf-8", b'"x"', "x"),
        ("text/plain", "grüß".encode(), "grüß"),
        ("text/plain; charset=latin-1", "grüß".encode("latin-1"), "grüß"),
        ("text/html; charset=nonsense", b"<p>", b"<p>"),
        ("image/png", b"\x89PNG", b"\x89PNG"),
        ("application/json", b"", None),
    ],
)
def test_a_body_is_json_text_or_bytes(web: Web, kind: str, content: bytes, body: Any) -> None:
    url = web.says("/thing", (200, {"Content-Type": kind, "ETag": '"7"', "Set-Cookie": "a=b"}, content))
    answer = http.fn(url)
    assert answer == Answer(status=200, headers={"content-type": kind, "etag": '"7"'}, body=body)
    assert http.spec.carry(answer)["status"] == 200


def test_what_is_sent_is_what_was_said(web: Web) -> None:
    url = web.says("/orders", (201, JSON, b"{}"))
    http.fn(url, method="POST", json={"total": Decimal("9.50"), "lines": [1]}, headers={"X-Shop": "7"}, query={"dry": True, "n": 2})
    http.fn(url, method="PUT", body="grüß")
    http.fn(url, method="POST", body=b"\x00" * 200_000, headers={"content-type": "image/png"})
    first, second, third = web.requests
    assert (first.method, first.path, first.body) == ("POST", "/orders?dry=true&n=2", b'{"total":"9.50","lines":[1]}')
    assert (first.headers["content-type"], first.headers["x-shop"]) == ("application/json", "7")
    assert (second.body.decode(), second.headers["content-type"]) == ("grüß", "text/plain; charset=utf-8")
    assert (len(third.body), third.headers["content-type"]) == (200_000, "image/png")


def test_a_method_that_changes_something_carries_the_steps_key(web: Web) -> None:
    url = web.says("/pay", (200, {}, b""))
    for attempt in (1, 2):
        with step_context(StepContext("the-key", attempt, "run")):
            http.fn(url, method="POST", json={})
            http.fn(url)
    http.fn(url, method="DELETE", headers={"idempotency-key": "my own"})
    assert [request.headers.get("idempotency-key") for request in web.requests] == ["the-key", None, "the-key", None, "my own"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422])
def test_a_client_error_is_final(web: Web, status: int) -> None:
    url = web.says("/no", (status, JSON, b'{"you sent": "hush"}'))
    with pytest.raises(HttpClientError) as told:
        http.fn(url)
    assert isinstance(told.value, GiveUp)
    assert (told.value.code, str(told.value)) == (str(status), f"the server answered {status}")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_server_error_is_tried_again(web: Web, status: int) -> None:
    url = web.says("/busy", (status, {}, b""))
    with pytest.raises(HttpServerError) as told:
        http.fn(url)
    assert told.value.code == str(status)
    assert not isinstance(told.value, GiveUp)


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": "999999999"}, 86_400.0),
        ({"Date": "Sun, 22 Nov 2026 10:00:00 GMT", "Retry-After": "Sun, 22 Nov 2026 10:00:30 GMT"}, 30.0),
    ],
)
def test_a_server_that_says_when_is_obeyed(web: Web, headers: dict[str, str], pause: float) -> None:
    def busy(handler: Any) -> None:
        handler.send_response_only(503)
        for name, value in {**headers, "Content-Length": "0"}.items():
            handler.send_header(name, value)
        handler.end_headers()

    with pytest.raises(HttpServerBusy) as told:
        http.fn(web.says("/later", busy))
    assert (told.value.after, told.value.code) == (pause, "503")


def test_expect_says_which_statuses_are_a_result(web: Web) -> None:
    url = web.says("/maybe", (404, {}, b""))
    assert http.fn(url, expect=[200, 404]).status == 404
    web.says("/made", (200, {}, b""))
    with pytest.raises(UnexpectedAnswer, match="200, which expect does not name"):
        http.fn(web.url + "/made", expect=201)


def test_an_answer_has_a_limit(web: Web, configure: Callable[..., None]) -> None:
    configure(input_limit=1000)
    with pytest.raises(UnexpectedAnswer, match="more than 1000 bytes"):
        http.fn(web.says("/large", (200, {}, b"x" * 1001)))
    with pytest.raises(HttpServerError):
        http.fn(web.says("/large-fault", (503, {}, b"x" * 1001)))
    assert http.fn(web.says("/fits", (200, {}, b"x" * 1000))).body == b"x" * 1000


def test_an_answer_may_come_with_gzip_and_is_no_larger_for_that(web: Web, configure: Callable[..., None]) -> None:
    configure(input_limit=1_000_000)
    packed = {**JSON, "Content-Encoding": "gzip"}
    whole = gzip.compress(b'{"a":') + gzip.compress(b" 1}")
    assert http.fn(web.says("/two", (200, packed, whole))).body == {"a": 1}
    assert web.requests[-1].headers["accept-encoding"] == "gzip"
    assert http.fn(web.says("/fits", (200, {"Content-Encoding": "gzip"}, gzip.compress(b"x" * 1_000_000)))).body == b"x" * 1_000_000
    assert http.fn(web.says("/head", (200, packed, whole)), method="HEAD").body is None
    for path, content, code in (
        ("/bomb", gzip.compress(b"x" * 50_000_000), "too_large"),
        ("/empty-bomb", gzip.compress(b"") * 60_000, "too_large"),
        ("/none", b"x", "encoded"),
        ("/torn", whole[:-9], "encoded"),
    ):
        with pytest.raises(UnexpectedAnswer) as told:
            http.fn(web.says(path, (200, {"Content-Encoding": "gzip"}, content)))
        assert told.value.code == code, path
    with pytest.raises(UnexpectedAnswer, match="not asked for"):
        http.fn(web.says("/other", (200, {"Content-Encoding": "br"}, b"x")))


def test_a_bomb_is_never_held_in_memory() -> None:
    bomb = gzip.compress(bytes(100_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(UnexpectedAnswer, match="more than 1000 bytes"):
            plain([bomb[at : at + 65_536] for at in range(0, len(bomb), 65_536)], "gzip", 1000)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_form_is_sent_as_a_browser_sends_one(web: Web) -> None:
    url = web.says("/token", (200, JSON, b"{}"))
    http.fn(url, method="POST", form={"grant": "a b&c", "scope": ["read", "grüß"], "n": 2, "dry": True})
    [request] = web.requests
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.body == b"grant=a+b%26c&scope=read&scope=gr%C3%BC%C3%9F&n=2&dry=true"
    with pytest.raises(InvalidCall, match="give one of json, body and form"):
        http.fn(url, method="POST", form={}, json={})
    with pytest.raises(InvalidCall, match="a GET has no body"):
        http.fn(url, form={"a": 1})


def drip(handler: Any) -> None:
    """A server that never stops, and never says much."""
    handler.send_response_only(200)
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b".")
        handler.wfile.flush()
        time.sleep(0.02)


def drip_headers(handler: Any) -> None:
    for _ in range(200):
        handler.wfile.write(b"H" if _ else b"HTTP/1.1 200 OK\r\nX: ")
        handler.wfile.flush()
        time.sleep(0.02)


@pytest.mark.parametrize("server", [drip, drip_headers])
def test_the_timeout_is_for_the_whole_exchange(web: Web, server: Callable[[Any], None]) -> None:
    began = time.monotonic()
    with pytest.raises(ConnectionFailed, match=r"no whole answer within 0\.3 s") as told:
        http.fn(web.says("/slow", server), timeout="300ms")
    assert told.value.code == "timeout"
    assert time.monotonic() - began < 2, "the server itself takes 4 s"


def test_what_is_no_answer_is_tried_again(web: Web) -> None:
    with pytest.raises(ConnectionFailed) as told:
        http.fn(web.says("/odd", lambda handler: handler.wfile.write(b"nonsense\r\n\r\n")))
    assert told.value.code == "protocol"
    with pytest.raises(ConnectionFailed) as told:
        http.fn(f"http://127.0.0.1:{_closed()}/")
    assert told.value.code == "connection"


def _closed() -> int:
    """A port where nobody listens."""
    with web_server() as server:
        return server.port


def test_everything_wrong_with_a_call_is_told_at_once_and_nothing_is_sent(web: Web) -> None:
    with pytest.raises(InvalidCall) as told:
        http.fn(web.url, json=1, body="x", headers={"Host": "other", "a b": "c", "X-Ok": "hush\r\nX-Evil: 1"}, timeout="soon")
    said = str(told.value)
    for part in (
        "one of json, body and form",
        "a GET has no body",
        "header host",
        "name holds a character",
        "header x-ok holds a line break",
        "timeout",
    ):
        assert part in said
    assert "hush" not in said
    assert web.requests == []


@pytest.mark.usefixtures("web")
def test_credentials_that_nobody_has_set_are_told() -> None:
    with pytest.raises(NotConfigured, match="no credentials are called billing: the operator sets http_credentials"):
        http.fn("https://api.example.com/", credentials="billing")


def test_credentials_go_to_their_hosts_alone_and_over_tls_alone(secured: Web, configure: Callable[..., None]) -> None:
    configure(http_credentials={"billing": {"hosts": ["localhost"], "headers": {"Authorization": "Bearer hush"}}})
    secured.says("/here", (200, JSON, b"1"))
    secured.says("/away", (302, {"Location": f"https://127.0.0.1:{secured.port}/here"}, b""))
    assert http.fn(f"https://localhost:{secured.port}/away", credentials="billing").body == 1
    assert [request.headers.get("authorization") for request in secured.requests] == ["Bearer hush", None]
    for url in (f"https://127.0.0.1:{secured.port}/here", f"http://localhost:{secured.port}/here"):
        with pytest.raises(AddressRefused, match="the credentials are for other hosts"):
            http.fn(url, credentials="billing")


def test_a_certificate_is_compared_with_the_name_and_a_strange_one_refused(secured: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    secured.says("/", (200, JSON, b"1"))
    assert http.fn(f"https://127.0.0.1:{secured.port}/").body == 1
    monkeypatch.delenv("SSL_CERT_FILE")
    exchange._tls.cache_clear()
    with pytest.raises(ConnectionFailed) as told:
        http.fn(f"https://localhost:{secured.port}/")
    assert told.value.code == "tls"
    assert isinstance(exchange._tls(), ssl.SSLContext)


def test_no_log_holds_what_was_sent(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    url = web.says("/hush", (200, {}, b"hush"))
    with caplog.at_level(logging.DEBUG):
        http.fn(url + "?q=hush", method="POST", headers={"X-Token": "hush"}, body="hush")
        assert "hush" not in caplog.text
        with httpx.Client(trust_env=False) as own:
            own.get(url)
    assert "httpcore" in {record.name.partition(".")[0] for record in caplog.records}, "the app's own requests are logged as they were"


def test_proxies_of_the_environment_are_not_asked(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{_closed()}")
    assert http.fn(web.says("/direct", (200, {}, b""))).status == 200
