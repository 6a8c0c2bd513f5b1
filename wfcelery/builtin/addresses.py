"""Where a workflow may connect to: what the whole internet can reach, and what the operator lists.

A name is resolved here, once for each connection, and the connection is made to the very address that was judged:
a name that means another address a moment later leads nowhere. How an address is spelled does not matter, since
what is judged is the address the system would connect to.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from wfcelery.builtin.failures import AddressRefused, ConnectionFailed

Address = IPv4Address | IPv6Address

_NAT64 = IPv6Network("64:ff9b::/96")
_WEB = (80, 443)


@dataclass(frozen=True, slots=True)
class Gate:
    """Who is let out. `allowed` are addresses, networks and host names, as the settings have them."""

    allowed: Sequence[str] = ()

    def addresses(self, host: str, port: int, within: float) -> list[str]:
        """The addresses of a host, each of which may be connected to. `AddressRefused` where one of them may not.

        TimeoutError where its name has no answer within so many seconds.
        """
        listed = host.lower().rstrip(".") in self.allowed
        if not listed and port not in _WEB and port < 1024:
            raise AddressRefused("the port is none of the web's (80, 443, or 1024 and above), and the host is not in outgoing_allowed")
        found = _resolved(host, port, within)
        networks = [ip_network(entry) for entry in self.allowed if _is_network(entry)]
        refused = [each for each in found if not (listed or is_global(each) or any(_inside(each, network) for network in networks))]
        if refused:
            raise AddressRefused(
                "the host has an address that is not globally reachable; an operator who wants workflows to reach it lists it in "
                "outgoing_allowed"
            )
        return [str(each) for each in found]


def is_global(address: Address) -> bool:
    """Whether the whole internet can reach it, whatever it is wrapped in."""
    within = unwrapped(address)
    if within.is_multicast or within.is_reserved or within.is_unspecified or within.is_loopback or within.is_link_local:
        return False
    if isinstance(within, IPv6Address) and within.is_site_local:
        return False
    return within.is_global


def unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for (mapped, NAT64, 6to4), or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.sixtofour or address


def _inside(address: Address, network: object) -> bool:
    return address in network or unwrapped(address) in network  # type: ignore[operator]


def _is_network(entry: str) -> bool:
    try:
        ip_network(entry)
    except ValueError:
        return False
    return True


def _resolved(host: str, port: int, within: float) -> list[Address]:
    """In a thread of its own, which nobody waits for longer: the system's resolver has a patience of its own."""
    answer: Future[list[Any]] = Future()

    def ask() -> None:
        try:
            answer.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as problem:
            answer.set_exception(problem)

    threading.Thread(target=ask, name="wfcelery-resolver", daemon=True).start()
    try:
        found = answer.result(within)
    except TimeoutError:
        raise
    except (OSError, UnicodeError):
        raise ConnectionFailed("the host's name has no address", "dns") from None
    texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
    return [ip_address(text) for text in texts]
