"""What an LPUSH that a monitor has seen put into a queue: one message or many, JSON texts side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator

_READER = json.JSONDecoder()


def pushed(command: str) -> tuple[str, list[str]]:
    """The queue and the messages, each as it was written; what is no JSON is one message to its end."""
    _, queue, rest = command.split(" ", 2)
    return queue, list(_texts(rest))


def _texts(rest: str) -> Iterator[str]:
    while rest:
        try:
            _, end = _READER.raw_decode(rest)
        except ValueError:
            end = len(rest)
        yield rest[:end]
        rest = rest[end:].lstrip(" ")
