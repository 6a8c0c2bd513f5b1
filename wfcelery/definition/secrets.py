"""Secrets by reference: a step's input holds a name, which is looked up just before the call and is stored nowhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from wfcelery.definition.values import MARK, mark_of

HIDDEN = "***"
_SHORTEST = 4  # characters of a secret's beginning that are taken out where a text was cut there


def secret_reference(name: str) -> dict[str, Any]:
    """A mark that stands for a secret."""
    return {MARK: ["secret", name]}


def revealed(stored: Any, look_up: Callable[[str], str]) -> Any:
    """A call's input with each reference to a secret replaced by the secret. The input itself stays as it is."""
    kind = type(stored)
    if kind is list:
        return [revealed(item, look_up) for item in stored]
    if kind is not dict:
        return stored
    mark = mark_of(stored)
    if mark is None:
        return {key: revealed(item, look_up) for key, item in stored.items()}
    if mark[0] == "secret":
        return look_up(mark[1])
    if mark[0] == "literal":
        return {MARK: ["literal", {key: revealed(item, look_up) for key, item in mark[1].items()}]}
    return stored


def holds_secrets(stored: Any) -> bool:
    """Whether there is any reference to a secret in a call's input."""
    kind = type(stored)
    if kind is list:
        return any(map(holds_secrets, stored))
    if kind is not dict:
        return False
    mark = mark_of(stored)
    if mark is None:
        return any(map(holds_secrets, stored.values()))
    return mark[0] == "secret" or (mark[0] == "literal" and any(map(holds_secrets, mark[1].values())))


def quotable(texts: Iterable[str]) -> Iterator[str]:
    """Those that a text could be said to quote: not one that is found in every other sentence."""
    return (text for text in texts if len(text) >= _SHORTEST)


def cleaned(text: str, secrets: Iterable[str]) -> str:
    """A text without these, and without the beginning of one at its end: the text may have been cut there."""
    for secret in sorted(secrets, key=len, reverse=True):
        if not secret:
            continue
        text = text.replace(secret, HIDDEN)
        for many in range(min(len(secret) - 1, len(text)), _SHORTEST - 1, -1):
            if text.endswith(secret[:many]):
                text = text[:-many] + HIDDEN
                break
    return text
