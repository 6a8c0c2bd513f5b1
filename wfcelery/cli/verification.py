"""What `wfcelery runs verify` tells, and what it heals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import click

from wfcelery.cli import output
from wfcelery.definition.spans import seconds
from wfcelery.errors import RowChanged
from wfcelery.service import healing, verifying
from wfcelery.service.context import Context
from wfcelery.service.invariants import Ledgers, read_effects, read_starts, read_tap
from wfcelery.service.views import Verdict
from wfcelery.store.failures import LockTimeout


@dataclass(slots=True)
class Tally:
    """What a check has come to, and what to do about it."""

    runs: int = 0
    bad: int = 0
    across: int = 0  # problems of no single run
    healable: int = 0

    def count(self, verdict: Verdict) -> None:
        if verdict.run == verifying.ACROSS:
            self.across += len(verdict.problems)
        else:
            self.runs, self.bad = self.runs + 1, self.bad + bool(verdict.problems)

    def line(self) -> str:
        across = f"; {self.across} problems across runs (*)" if self.across else ""
        return f"{self.runs} runs verified, {self.bad} with problems{across}"

    def hints(self, fix: bool, yes: bool) -> Iterator[str]:
        if self.bad and not fix:
            yield "the same with --fix says what can be healed, and writes nothing"
        elif self.healable and not yes:
            yield f"nothing was written; the same with --fix --yes heals what can be healed of {self.healable} runs"


def fixed(here: Context, verdict: Verdict, ledgers: Ledgers, yes: bool, tally: Tally) -> Verdict:
    """Heal a run, or say what healing would do; the verdict after it."""
    run = UUID(verdict.run)
    try:
        sayings = healing.heal(here, run) if yes else healing.planned(here, run)
    except (RowChanged, LockTimeout):
        output.say(f"{run}: it was being written, and is left as it is; verify it again")
        return verdict
    if not sayings:
        output.say(f"{run}: nothing can be healed without making something up; look at wfcelery runs show {run} --history")
        return verdict
    tally.healable += 1
    for says in sayings:
        output.say(f"{run}: {'healed' if yes else 'would be healed'}: {says}")
    return next(verifying.verify(here, [verdict.run], ledgers)) if yes else verdict


def ledgers_of(
    retention: float | None,
    effects: Path | None,
    starts: Path | None,
    tap: Path | None,
    canaries: tuple[str, ...],
    drained: bool,
    bound: str | None,
    purged: bool,
) -> Ledgers:
    late = None if bound is None else seconds(bound)
    found = Ledgers(canaries=canaries, drained=drained, bound=late, retention=retention, purged=purged)
    try:
        if effects is not None:
            found.effects, found.kinds, found.crashes = read_effects(effects)
        found.starts = None if starts is None else read_starts(starts)
        found.tap = None if tap is None else read_tap(tap)
    except RecursionError as problem:
        raise click.UsageError("a ledger is nested too deep") from problem
    except ValueError as problem:
        raise click.UsageError(str(problem)) from problem
    return found
