"""What a step passes before it begins, as Python says it. A key is a text, or what a text("…{}", x) or a reference gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from wfcelery.authoring.references import Reference
from wfcelery.definition.gating import every
from wfcelery.definition.spans import seconds
from wfcelery.errors import AuthoringError, Duration


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many steps of one key are under way at once, whichever run and worker they are of."""

    key: str
    slots: int = 1

    def __post_init__(self) -> None:
        _check_key("Limit(key)", self.key)
        _check_number("Limit(slots)", self.slots)


@dataclass(frozen=True, slots=True)
class Rate:
    """Steps of one key begin at most so often: "20/s", "10/m", "5/30s". Without a key: those of the same step."""

    limit: str
    key: str | None = None
    burst: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        try:
            every(self.limit)
        except ValueError as wrong:
            raise AuthoringError(f"Rate(limit): {wrong}") from None
        if self.key is not None:
            _check_key("Rate(key)", self.key)
        _check_number("Rate(burst)", self.burst)


@dataclass(frozen=True, slots=True)
class Breaker:
    """After so many failed attempts of one key `within` a span none begins for `open_for`; then one, and with its success all."""

    key: str
    failures: int = field(default=5, kw_only=True)
    within: Duration = field(default="1m", kw_only=True)
    open_for: Duration = field(default="30s", kw_only=True)

    def __post_init__(self) -> None:
        _check_key("Breaker(key)", self.key)
        _check_number("Breaker(failures)", self.failures)
        for name in ("within", "open_for"):
            try:
                right = seconds(getattr(self, name)) > 0
            except ValueError as wrong:
                raise AuthoringError(f"Breaker({name}): {wrong}") from None
            if not right:
                raise AuthoringError(f"Breaker({name}) is longer than nothing")


@dataclass(frozen=True, slots=True)
class Concurrency:
    """At most so many runs of a workflow are under way at once, of each `key` if there is one: "shop-{{ parameters.shop }}".

    A run that comes when there are as many waits ("queue"), ends as cancelled ("reject"), cancels those that are under way
    and wait ("cancel_running"), or those that wait alone ("keep_newest").
    """

    key: str | None = None
    limit: int = 1
    when_full: Literal["queue", "reject", "cancel_running", "keep_newest"] = "queue"

    def __post_init__(self) -> None:
        if self.key is not None and (not isinstance(self.key, str) or not self.key):
            raise AuthoringError(f"Concurrency(key) is a text with expressions over the parameters, not {self.key!r}")
        _check_number("Concurrency(limit)", self.limit)
        if self.when_full not in ("queue", "reject", "cancel_running", "keep_newest"):
            ways = "queue, reject, cancel_running, keep_newest"
            raise AuthoringError(f"Concurrency(when_full) is one of {ways}, not {self.when_full!r}")

    def document(self) -> dict[str, Any]:
        """The same, as a definition writes it."""
        return {"limit": self.limit, "when_full": self.when_full, **({} if self.key is None else {"key": self.key})}


def check_gate(name: str, where: str, value: Any) -> None:
    """Raises `AuthoringError` where this is no such gate."""
    if name == "lock":
        _check_key(where, value)
        return
    if name == "rate" and isinstance(value, str):
        Rate(value)
        return
    kind = {"limit": Limit, "rate": Rate, "breaker": Breaker}[name]
    if not isinstance(value, kind):
        raise AuthoringError(f"{where} is a {kind.__name__}(...), not {value!r}")


def keys_in(options: Any) -> list[Any]:
    """The keys that the gates among these options name."""
    found = [options.get("lock"), *(getattr(options.get(name), "key", None) for name in ("limit", "breaker", "rate"))]
    return [key for key in found if key is not None]


def said_of_gates(options: Any, write: Any) -> dict[str, Any]:
    """The gates among these options, as a definition says them; `write` writes a key."""
    said: dict[str, Any] = {}
    if "limit" in options:
        limit: Limit = options["limit"]
        said["limit"] = {"key": write(limit.key, "limit"), "slots": limit.slots}
    if "lock" in options:
        said["lock"] = write(options["lock"], "lock")
    if "rate" in options:
        rate: Rate = options["rate"] if isinstance(options["rate"], Rate) else Rate(options["rate"])
        key = {} if rate.key is None else {"key": write(rate.key, "rate")}
        said["rate"] = {"limit": "".join(rate.limit.split()), **key, "burst": rate.burst}
    if "breaker" in options:
        breaker: Breaker = options["breaker"]
        spans = {"within": seconds(breaker.within), "open_for": seconds(breaker.open_for)}
        said["breaker"] = {"key": write(breaker.key, "breaker"), "failures": breaker.failures, **spans}
    return said


def gates_of_code(name: str, options: Any) -> tuple[dict[str, Any], ...]:
    """The gates that `@step(...)` says of every call of a step, whose keys are as they are written."""
    said = said_of_gates(options, _plain)
    rate: dict[str, Any] = said.get("rate", {})
    found: dict[str, dict[str, Any]] = {
        "limit": said.get("limit", {}),
        "lock": {"key": said["lock"], "slots": 1} if "lock" in said else {},
        "breaker": said.get("breaker", {}),
        "rate": {"key": rate.get("key", name), "every": every(rate["limit"]), "burst": rate["burst"]} if rate else {},
    }
    return tuple({"kind": kind, **terms} for kind, terms in found.items() if terms)


def _plain(key: Any, where: str) -> str:
    if not isinstance(key, str) or "{{" in key:
        raise AuthoringError(
            f"@step({where}=…) has one key for all calls; say it of a call, with options({where}=…), where it depends on one"
        )
    return key


def _check_key(where: str, key: Any) -> None:
    if not isinstance(key, Reference) and (not isinstance(key, str) or not key):
        raise AuthoringError(f"{where} is a text or what a step or parameter is worth, not {key!r}")


def _check_number(where: str, number: Any) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise AuthoringError(f"{where} is a whole number from 1 on, not {number!r}")
