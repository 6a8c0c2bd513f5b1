"""What a task passes before it begins: a slot of a limit, a lock, its turn at a rate, a breaker that is closed.

Each has a key, which is a template: who has the same key in the same organization shares the limit, whichever run, workflow
or worker it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from wfcelery.definition.spans import seconds

_RATE = re.compile(r"\s*(\d{1,9})\s*/\s*(\d+(?:\.\d+)?)?\s*(ms|s|m|h|d)\s*")
_WAYS = "write 20/s, 10/m, 100/h or 5/30s"


def every(rate: str) -> float:
    """Seconds between two of a rate such as 20/s or 5/30s. A ValueError says what can be written."""
    found = _RATE.fullmatch(rate) if isinstance(rate, str) else None
    if found is None or int(found[1]) == 0:
        raise ValueError(f"{str(rate)[:40]!r} is no rate: {_WAYS}")
    span = seconds(f"{found[2] or 1}{found[3]}")
    if span == 0:
        raise ValueError(f"{rate!r} is no rate: {_WAYS}")
    return span / int(found[1])


def _rate(rate: str) -> str:
    every(rate)
    return "".join(rate.split())


def _spelled(value: Any) -> Any:
    return {"limit": value} if isinstance(value, str) else value


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


Key = Annotated[str, Field(min_length=1)]
Span = Annotated[float, BeforeValidator(seconds), Field(gt=0)]
Rate = Annotated[str, AfterValidator(_rate)]


class LimitSpec(_Strict):
    """At most so many steps of one key are under way at once."""

    key: Key
    slots: Annotated[int, Field(ge=1, le=1_000_000)] = 1


class RateSpec(_Strict):
    """Steps of one key begin at most so often. Without a key: those of the same action. `burst` of them may come at once."""

    limit: Rate
    key: Key | None = None
    burst: Annotated[int, Field(ge=1, le=1_000_000)] = 1


class BreakerSpec(_Strict):
    """After so many failed attempts of one key within a span none begins for a while; then one, and with its success all."""

    key: Key
    failures: Annotated[int, Field(ge=1, le=1_000_000)] = 5
    within: Span = 60.0
    open_for: Span = 30.0


class ConcurrencySpec(_Strict):
    """At most so many runs of one key are under way at once; what becomes of one that comes when there are as many."""

    key: Key | None = None
    limit: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    when_full: Literal["queue", "reject", "cancel_running", "keep_newest"] = "queue"


MaybeRate = Annotated[RateSpec | None, BeforeValidator(_spelled)]
GATES = ("limit", "lock", "breaker", "rate")


def keys_of(task: Any) -> Iterator[tuple[tuple[str, ...], str | None]]:
    """The keys that a task names, with where."""
    yield ("lock",), task.lock
    for gate in ("limit", "breaker", "rate"):
        said = getattr(task, gate)
        if said is not None:
            yield (gate, "key"), said.key


def not_for_items(action: str, gates: Iterable[Mapping[str, Any]]) -> str | None:
    """Why a step with these gates in its code cannot be called for each item; None: it can."""
    kinds = [gate["kind"] for gate in gates]
    if not kinds:
        return None
    return (
        f"the code of {action} says {', '.join(kinds)}, which does not hold for items: "
        "give each item a workflow of its own that calls it, or say how many at once with concurrency and leave it out there"
    )
