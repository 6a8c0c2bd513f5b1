"""Two ways for a message to travel: Redis, mended, and the memory of one process."""

from __future__ import annotations

from kombu.connection import resolve_aliases
from kombu.transport import TRANSPORT_ALIASES

MEMORY_URL = "wfmem://localhost//"

_MENDED = {"redis": "wfredis", "rediss": "wfrediss"}


def register() -> None:
    """Make the names known to kombu: they may stand wherever a transport's may."""
    TRANSPORT_ALIASES["wfmem"] = "wfcelery.worker.transports.memory:Transport"
    for plain, mended in _MENDED.items():
        TRANSPORT_ALIASES[mended] = "wfcelery.worker.transports.redis:Transport"
        # What shows a connection (Flower, the worker's banner) goes on to show redis://.
        resolve_aliases[mended] = plain


def mended(urls: list[str]) -> str | None:
    """Our transport for these URLs of one broker, or None where they are not plain Redis."""
    schemes = {url.partition("://")[0] for url in urls}
    return _MENDED.get(schemes.pop()) if len(schemes) == 1 else None
