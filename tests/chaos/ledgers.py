"""What was written outside of the faults, put into the form the checker reads, and what it says about recovery."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.chaos.lines import lines
from tests.chaos.nemesis import Kill
from tests.chaos.stack import Stack
from wfcelery.core.keys import idempotency_key

Line = Mapping[str, Any]


def write_effects(stack: Stack, crashes: int) -> Path:
    """`effects.jsonl`: what kind each step is, what each attempt did, which effects are there, and the database's crashes."""
    place = stack.folder / "effects.jsonl"
    with place.open("w") as file:
        for found in _effects(stack, crashes):
            file.write(json.dumps(found) + "\n")
    return place


def _effects(stack: Stack, crashes: int) -> Iterator[Line]:
    yield {"workflow": "chaos_app.booked", "step": "book", "kind": "transactional"}
    yield {"workflow": "chaos_app.paid", "step": "once_outside", "kind": "idempotent"}
    yield from ({"phase": "crash"} for _ in range(crashes))
    yield from lines(stack.folder / "raw-effects.jsonl")
    for applied in sorted((stack.folder / "marks" / "applied").glob("*-0")):
        yield {**json.loads(applied.read_text()), "step": "once_outside", "phase": "applied"}
    columns = ("key", "run", "step", "item", "attempt", "token")
    for row in stack.query("select key, run, name, item, attempt, token from bookings"):
        yield {**dict(zip(columns, row, strict=True)), "phase": "applied"}


def write_starts(stack: Stack) -> Path:
    """`starts.jsonl`: the client's calls."""
    place = stack.folder / "starts.jsonl"
    with place.open("w") as file:
        for line in lines(stack.folder / "client.jsonl"):
            if line["phase"] in ("sent", "answered", "unknown", "refused"):
                file.write(json.dumps(line) + "\n")
    return place


# Faults that take nothing away from those who shall do the work again.
HARMLESS = (
    "deploy",
    "bad_messages",
    "client_kill",
    "forged_messages",
    "idle_session",
    "newer_messages",
    "no_beat",
    "oversize_messages",
    "reordered_messages",
    "repeated_messages",
    "three_beats",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """How long it took until one attempt that was hit ran again."""

    kind: str  # as of the kill
    at: float
    key: str
    took: float
    alone: bool  # no other fault took workers, broker or database away meanwhile


def figures(samples: Sequence[Sample], kind: str) -> dict[str, float | int | None]:
    """Of one kind: how many, and within how many seconds half and 99 % of them ran again."""
    all_ = [sample.took for sample in samples if sample.kind == kind]
    alone = [sample.took for sample in samples if sample.kind == kind and sample.alone]
    return {
        "alone": len(alone),
        "alone_p50": quantile(alone, 0.5),
        "alone_p99": quantile(alone, 0.99),
        "all": len(all_),
        "all_p50": quantile(all_, 0.5),
        "all_p99": quantile(all_, 0.99),
    }


def recovery(stack: Stack, kills: Sequence[Kill], strikes: Sequence[tuple[str, float, float]]) -> list[Sample]:
    """A sample for each attempt hit; `recovery.jsonl` has them too.

    What had ended, or was cancelled, before it was lost does not run again and says nothing. Nor does what was lost too
    often, and ran again when an operator asked for it.
    """
    given_up = _given_up(stack)
    begun: dict[str, list[tuple[float, int]]] = {}
    for line in lines(stack.folder / "raw-effects.jsonl"):
        if line["phase"] == "begun" and line["key"] not in given_up:
            begun.setdefault(line["key"], []).append((line["at"], line["attempt"]))
    harmful = [(since, until) for name, since, until in strikes if name not in HARMLESS]
    found: list[Sample] = []
    for kill in kills:
        own = next(((since, until) for since, until in harmful if since <= kill.at <= until + 0.1), None)
        others = [window for window in harmful if window != own]
        for attempt in kill.attempts:
            again = [at for at, number in begun.get(attempt.key, ()) if number > attempt.number and at > kill.at - 0.5]
            if again:
                took = round(max(0.0, min(again) - kill.at), 3)
                alone = not any(since < kill.at + took and until > kill.at - 1.0 for since, until in others)
                found.append(Sample(kill.kind, kill.at, attempt.key, took, alone))
    with (stack.folder / "recovery.jsonl").open("w") as file:
        file.writelines(json.dumps(asdict(sample)) + "\n" for sample in found)
    return found


def _given_up(stack: Stack) -> set[str]:
    """The keys of steps that have, or had, a dead letter because they were lost too often."""
    lost = "select s.organization_id, s.run, s.name, s.item, s.round from wf_step s join wf_dead_letter d on d.step = s.id"
    rows = stack.query(f"{lost} where d.reason = 'lost'")
    return {idempotency_key(organization, UUID(str(run)), name, item, round_) for organization, run, name, item, round_ in rows}


def quantile(values: Sequence[float], share: float) -> float | None:
    """The value that this share of them does not exceed."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2) if ordered else None
