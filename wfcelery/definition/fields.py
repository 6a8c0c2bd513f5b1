"""What a field of a definition may be written as, and the form it is kept in: spans are seconds, names are in lists."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from wfcelery.definition.expressions import bare
from wfcelery.definition.spans import seconds
from wfcelery.definition.values import MARK, encode, mark_of
from wfcelery.errors import CannotCarry

_CARRIED = frozenset({"datetime", "date", "time", "decimal", "uuid", "bytes", "literal"})


def _span(value: Any) -> Any:
    return None if value is None else seconds(value)


def names_of(value: Any) -> Any:
    """One name is a list of one."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def stored(value: Any) -> Any:
    """The stored form of what an author wrote; what is stored already stays as it is."""
    if isinstance(value, dict):
        mark = mark_of(value)
        if mark is not None and mark[0] in _CARRIED:
            return value
        plain = {key if isinstance(key, str) else str(key): stored(item) for key, item in value.items()}
        return {MARK: ["literal", plain]} if MARK in plain else plain
    if isinstance(value, (list, tuple)):
        return [stored(item) for item in value]
    try:
        return encode(value)
    except CannotCarry as error:
        raise ValueError(str(error)) from error


def condition_of(value: Any) -> Any:
    """What is true or false, as an expression."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return bare(value) if isinstance(value, str) else value


Span = Annotated[float, BeforeValidator(_span)]
MaybeSpan = Annotated[float | None, BeforeValidator(_span)]
Names = Annotated[tuple[str, ...], BeforeValidator(names_of)]
Stored = Annotated[Any, BeforeValidator(stored)]
Condition = Annotated[str, BeforeValidator(condition_of)]


class Strict(BaseModel):
    """A part of a definition: what it does not know, it refuses."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class RetrySpec(Strict):
    """When a failed task runs again. Attempts are `count` + 1."""

    count: Annotated[int, Field(ge=0, le=10_000)] = 3
    delay: Span = 1.0
    backoff: Literal["constant", "linear", "exponential"] = "exponential"
    max_delay: MaybeSpan = 60.0
    jitter: bool = True
    on_error: Condition | None = None
    non_retryable: Names = ()
    total: MaybeSpan = None
