"""What is known beside the database: what steps did, what clients asked for, what the broker carried. Files of JSON lines.

`docs/reference/invariants.md` says what the lines look like.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

T = TypeVar("T")
KINDS = ("transactional", "idempotent", "plain")
EFFECT_PHASES = ("begun", "applied", "ended")
START_PHASES = ("sent", "answered", "unknown", "refused", "seen")


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that an attempt did: it began, its effect was applied, it ended with a result (its digest)."""

    key: str  # the step's idempotency key
    run: UUID
    step: str
    attempt: int
    token: UUID | None
    phase: str
    item: int = -1
    result: str | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """What became of one call of `start_workflow`, or what a client saw of a run later (`seen`, with its status)."""

    phase: str
    run: UUID | None = None
    key: str | None = None
    workflow: str | None = None
    organization_id: str = "default"
    input: str | None = None  # the digest of what was sent, as `wf_run.input_digest` has it
    status: str | None = None
    again: bool = False  # with `on_conflict="new_if_ended"`, which gives one key to several runs


@dataclass(frozen=True, slots=True)
class Carried:
    """One message as the broker carried it."""

    body: Any
    bytes: int


@dataclass(slots=True)
class Ledgers:
    """Everything beside the tables. What is None was not kept, and what needs it is not judged."""

    effects: Mapping[UUID, list[Effect]] | None = None  # by run
    kinds: Mapping[tuple[str | None, str], str] = field(default_factory=dict)  # (workflow or None, step) -> one of KINDS
    crashes: int = 0  # of the database, recorded: each may have taken back a claim
    starts: list[Start] | None = None
    tap: list[Carried] | None = None
    canaries: tuple[str, ...] = ()  # texts that are payload, and must be nowhere else
    drained: bool = False  # everything has come to rest: what holds only then is judged too
    bound: float | None = None  # seconds by which anything due may be late while workers are up
    retention: float | None = None  # seconds after its end for which a run is kept; None: for ever
    purged: bool = False  # dead letters were deleted by hand: a missing one says nothing
    healed_at: datetime | None = None  # when the last fault was over, and how long all runs may take from then on
    within: float | None = None
    left: Mapping[str, int] = field(default_factory=dict)  # what the environment still holds: {"queue celery": 0, "unacked": 0}

    def kind_of(self, workflow: str, step: str) -> str:
        """What the ledger says a step is; `plain` where it says nothing."""
        return self.kinds.get((workflow, step)) or self.kinds.get((None, step)) or "plain"


def read_effects(path: Path) -> tuple[dict[UUID, list[Effect]], dict[tuple[str | None, str], str], int]:
    """Effects by run, the kinds that steps are declared to be, and how many crashes of the database are recorded.

    Raises ValueError with the number of the line that cannot be read.
    """
    effects: dict[UUID, list[Effect]] = {}
    kinds: dict[tuple[str | None, str], str] = {}
    crashes = 0
    for found in _lines(path, _effect):
        if isinstance(found, Effect):
            effects.setdefault(found.run, []).append(found)
        elif found is None:
            crashes += 1
        else:
            kinds[found[0]] = found[1]
    return effects, kinds, crashes


def read_starts(path: Path) -> list[Start]:
    """The clients' own ledger. Raises ValueError as `read_effects`."""
    return list(_lines(path, start_of))


def read_tap(path: Path) -> list[Carried]:
    """All messages that the broker carried. Raises ValueError as `read_effects`."""
    return list(_lines(path, _carried))


def start_of(line: Mapping[str, Any]) -> Start:
    """One line of the clients' ledger."""
    phase = _one_of(line["phase"], START_PHASES)
    known = {name: line[name] for name in ("key", "workflow", "organization_id", "input", "status", "again") if line.get(name) is not None}
    return Start(phase, _uuid(line.get("run")), **known)


def effect_of(line: Mapping[str, Any]) -> Effect:
    """One line of the effects ledger that says what an attempt did."""
    return Effect(
        key=str(line["key"]),
        run=UUID(str(line["run"])),
        step=str(line["step"]),
        attempt=int(line["attempt"]),
        token=_uuid(line.get("token")),
        phase=_one_of(line["phase"], EFFECT_PHASES),
        item=int(line.get("item", -1)),
        result=line.get("result"),
    )


def _effect(line: Mapping[str, Any]) -> Effect | tuple[tuple[str | None, str], str] | None:
    if line.get("phase") == "crash":
        return None
    if "kind" in line and "phase" not in line:
        return (line.get("workflow"), str(line["step"])), _one_of(line["kind"], KINDS)
    return effect_of(line)


def _carried(line: Mapping[str, Any]) -> Carried:
    body = line["body"]
    text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":"))
    try:
        decoded = json.loads(body) if isinstance(body, str) else body
    except ValueError:
        decoded = body
    return Carried(decoded, int(line.get("bytes", len(text.encode()))))


def _lines(path: Path, make: Callable[[Mapping[str, Any]], T]) -> Iterator[T]:
    with path.open(encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                yield make(json.loads(text))
            except (ValueError, KeyError, TypeError, AttributeError) as problem:
                raise ValueError(f"{path.name}, line {number}: {type(problem).__name__}: {problem}") from problem


def _uuid(value: Any) -> UUID | None:
    return None if value is None else UUID(str(value))


def _one_of(word: Any, words: tuple[str, ...]) -> str:
    if word not in words:
        raise ValueError(f"{word!r} is none of {', '.join(words)}")
    return str(word)
