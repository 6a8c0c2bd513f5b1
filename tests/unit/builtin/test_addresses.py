"""A workflow reaches what the whole internet can reach, and of the rest what the operator lists: whatever an address looks like."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any

import httpcore
import pytest

from tests.unit.builtin.servers import Web
from wfcelery.builtin import http
from wfcelery.builtin.addresses import Gate, is_global
from wfcelery.builtin.failures import AddressRefused, ConnectionFailed, InvalidCall, UnexpectedAnswer

HOSTILE = [
    "http://127.0.0.1/",
    "http://localhost/",
    "http://127.1/",
    "http://2130706433/",
    "http://0177.0.0.1/",
    "http://0x7f.0.0.1/",
    "http://0x7f000001/",
    "http://0/",
    "http://0.0.0.0/",
    "http://10.1.2.3/",
    "http://167837955/",
    "http://012.1.2.3/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://0xa9fea9fe/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://192.0.2.1/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::127.0.0.1]/",
    "http://[::ffff:10.0.0.1]/",
    "http://[::ffff:a00:1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[64:ff9b::10.0.0.1]/",
    "http://[64:ff9b:1::a00:1]/",
    "http://[2002:a00:1::]/",
    "http://[2001:0:a00:1::]/",
    "http://[fe80::1]/",
    "http://[fec0::1]/",
    "http://[fd00:ec2::254]/",
    "http://[ff02::1]/",
    "http://example.com:25/",
    "http://ann:secret@example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://example.com/",
    "//example.com/",
    "example.com",
]


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Where connections were tried to; each fails."""
    tried: list[tuple[str, int]] = []

    def connect(self: object, host: str, port: int, *_: Any, **__: Any) -> httpcore.NetworkStream:
        tried.append((host, port))
        raise httpcore.ConnectError

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    return tried


@pytest.fixture
def resolves(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """`resolves(["10.0.0.1"], ["10.0.0.2"])`: what names mean, query by query; the list of those that were asked for."""

    def say(*turns: Sequence[str]) -> list[str]:
        asked: list[str] = []

        def resolve(host: str, port: int, **_: Any) -> list[Any]:
            found = turns[min(len(asked), len(turns) - 1)]
            asked.append(host)
            return [(socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        return asked

    return say


@pytest.mark.usefixtures("configure")
@pytest.mark.parametrize("url", HOSTILE)
def test_nothing_is_connected_to_by_an_address_that_not_everybody_can_reach(url: str, connected: list[tuple[str, int]]) -> None:
    with pytest.raises((AddressRefused, InvalidCall)) as told:
        http.fn(url)
    assert connected == []
    assert "secret" not in str(told.value)
    assert "10." not in str(told.value)


@pytest.mark.usefixtures("configure")
@pytest.mark.parametrize(
    "found", [["93.184.216.34", "10.0.0.1"], ["10.0.0.1", "93.184.216.34"], ["2606:2800:220:1::1", "::ffff:127.0.0.1"], ["fe80::1%eth0"]]
)
def test_a_name_that_means_an_inner_address_too_is_refused(
    found: list[str], connected: list[tuple[str, int]], resolves: Callable[..., list[str]]
) -> None:
    resolves(found)
    with pytest.raises(AddressRefused):
        http.fn("https://both.example.com/")
    assert connected == []


@pytest.mark.usefixtures("configure")
def test_the_address_that_was_judged_is_the_one_that_is_connected_to(
    connected: list[tuple[str, int]], resolves: Callable[..., list[str]]
) -> None:
    """A name that means another address a moment later is asked once."""
    asked = resolves(["93.184.216.34"], ["169.254.169.254"])
    with pytest.raises(ConnectionFailed):
        http.fn("https://flips.example.com/")
    assert (asked, connected) == (["flips.example.com"], [("93.184.216.34", 443)])
    with pytest.raises(AddressRefused):
        http.fn("https://flips.example.com/")
    assert connected == [("93.184.216.34", 443)]


@pytest.mark.usefixtures("configure")
def test_a_name_server_that_is_silent_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, over = threading.Event(), threading.Event()

    def silent(*_: Any, **__: Any) -> list[Any]:
        asked.set()
        over.wait(20)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    with pytest.raises(ConnectionFailed, match=r"no whole answer within 0\.2 s"):
        http.fn("https://slow.example.com/", timeout=0.2)
    assert asked.is_set()
    over.set()


@pytest.mark.usefixtures("configure")
def test_each_address_of_a_name_is_tried(connected: list[tuple[str, int]], resolves: Callable[..., list[str]]) -> None:
    resolves(["2606:2800:220:1::1", "93.184.216.34"])
    with pytest.raises(ConnectionFailed, match="could not be made"):
        http.fn("http://two.example.com:8080/")
    assert connected == [("2606:2800:220:1::1", 8080), ("93.184.216.34", 8080)]


@pytest.mark.parametrize(
    "target", ["http://10.0.0.1/", "http://169.254.169.254/latest", "http://[::1]/", "http://2852039166/", "file:///etc"]
)
def test_a_redirect_leads_to_no_inner_address(web: Web, target: str) -> None:
    url = web.says("/away", (302, {"Location": target}, b""))
    with pytest.raises(AddressRefused):
        http.fn(url)
    assert len(web.requests) == 1


def test_a_redirect_is_followed_three_times_and_tells_another_host_nothing(web: Web, configure: Callable[..., None]) -> None:
    configure(outgoing_allowed=["127.0.0.1", "localhost"])
    web.says("/there", (200, {"Content-Type": "application/json"}, b'{"here": true}'))
    web.says("/b", (307, {"Location": f"http://localhost:{web.port}/there"}, b""))
    url = web.says("/a", (301, {"Location": "/b"}, b""))
    assert http.fn(url, headers={"X-Token": "hush"}).body == {"here": True}
    assert [request.headers.get("x-token") for request in web.requests] == ["hush", "hush", None]

    web.says("/round", (302, {"Location": "/round"}, b""))
    with pytest.raises(UnexpectedAnswer, match="more than 3 redirects"):
        http.fn(web.url + "/round")
    assert len(web.requests) == 3 + 4


def test_what_changes_something_is_not_sent_on(web: Web) -> None:
    url = web.says("/old", (308, {"Location": "/new"}, b""))
    with pytest.raises(UnexpectedAnswer, match="it wants the request elsewhere"):
        http.fn(url, method="POST", json={})
    assert [request.path for request in web.requests] == ["/old"]


@pytest.mark.parametrize(
    ("entry", "host", "let_through"),
    [
        ("10.2.0.0/16", "10.2.3.4", True),
        ("10.2.0.0/16", "10.3.0.1", False),
        ("10.2.0.0/16", "::ffff:10.2.3.4", True),
        ("fd00::/8", "fd12::1", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("billing.internal", "billing.internal", True),
        ("billing.internal", "x.billing.internal", False),
    ],
)
def test_an_operator_lists_networks_and_hosts(entry: str, host: str, let_through: bool, resolves: Callable[..., list[str]]) -> None:
    resolves([host if host[0].isdigit() or ":" in host else "10.0.0.9"])
    gate = Gate((entry,))
    if let_through:
        assert gate.addresses(host, 8080, 5)
    else:
        with pytest.raises(AddressRefused, match="outgoing_allowed"):
            gate.addresses(host, 8080, 5)


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_what_the_internet_can_reach_is_let_through(address: str) -> None:
    assert is_global(ip_address(address))
