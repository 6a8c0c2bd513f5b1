"""A schedule beside the runs of a story: while things go wrong, each of its slots is started, and none twice."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from random import Random
from uuid import UUID

from tests.simulation import verdicts
from tests.simulation.fleet import Fleet
from tests.simulation.world import Violation
from wfcelery.authoring.yaml import load_yaml
from wfcelery.core.schedules import slot_key
from wfcelery.definition.document import OVERLAPS
from wfcelery.definition.model import canonical_json, signature
from wfcelery.store import definitions, schedules
from wfcelery.store.schedules import Terms

TEXT = """
name: chore
tasks:
  - {name: nap, type: sleep, duration: 1.5s}
  - {name: never, action: x, after: [nap], when: false}
"""
CHORE = load_yaml(TEXT)  # no author's code, so no author's ledger
ID = UUID(int=0x5C4ED)
EVERY = 2  # seconds


def has_a_schedule(seed: int) -> bool:
    """Of one seed in seven; nothing is drawn for it, so that the others are as they were."""
    return seed % 7 == 5


@dataclass
class Scheduled:
    """One schedule of one world."""

    fleet: Fleet
    first: float = 0.0  # in seconds since 1970, as its last
    last: float = 0.0
    overlap: str = field(init=False)

    def __post_init__(self) -> None:
        self.overlap = Random(self.fleet.world.story.seed).choice(OVERLAPS)

    def begin(self) -> None:
        """It is there from the beginning."""
        terms = Terms("chore", "{}", None, EVERY, "UTC", self.overlap, 86_400.0)  # type: ignore[arg-type]
        with self.fleet.database.quietly() as tx:
            definitions.store(tx, signature(CHORE), CHORE.name, CHORE.version, canonical_json(CHORE), strict=False)
            slot = terms.timetable.after(schedules.now(tx))
            assert slot is not None
            assert schedules.insert(tx, ID, "default", "chores", terms, slot, None)
        self.first = slot.timestamp()

    def stop(self) -> None:
        """Somebody pauses it, so that the world can come to rest."""
        with self.fleet.database.quietly() as tx:
            self.fleet.database.land()  # what is under way has moved it on before
            found = schedules.find(tx, "default", "chores")
            assert found is not None
            assert found.next_slot is not None
            latest = max((fate["slot"] for fate in found.recent if fate["fate"] == "started"), default="")
            if found.waiting is not None and latest > found.waiting.isoformat():
                raise Violation(f"the slot {latest} was started before {found.waiting.isoformat()}, which waits")
            self.last = found.next_slot.timestamp() - EVERY
            schedules.pause(tx, "default", "chores", None)

    def check(self) -> None:
        """Each slot until the pause has one fate, and each that was started one run."""
        with self.fleet.database.quietly() as tx:
            found = schedules.find(tx, "default", "chores")
        assert found is not None
        runs = self.fleet.database.query("select id, key from wf_run where workflow = 'chore'")
        self._none_before_its_time()
        keys = Counter(key for _, key in runs)
        come = int((self.last - self.first) / EVERY) + 1
        told = f"{come} slots came; {found.started} started, {found.skipped} skipped, {found.missed} missed; {len(runs)} runs"
        if max(keys.values(), default=1) > 1 or found.started != len(runs):
            raise Violation(f"a slot was started twice, or a run has none: {told}")
        if found.missed or found.started + found.skipped != come:
            raise Violation(f"slots were lost, or made up: {told}")
        slots = {slot_key("chores", datetime.fromtimestamp(self.first + number * EVERY, UTC)) for number in range(come)}
        if not keys.keys() <= slots or (self.overlap == "allow" and keys.keys() != slots):
            raise Violation(f"runs of slots that never came: {sorted(keys.keys() ^ slots)}")
        if found.error is not None:
            raise Violation(f"a slot could not be started: {found.error}")
        if self.overlap != "allow":
            self._one_at_a_time()
        for run, _ in runs:
            verdicts.of_run(self.fleet, UUID(hex=run))
        sometimes = self.fleet.world.sometimes
        sometimes[f"schedule: {self.overlap}"] += 1
        sometimes["schedule: a slot was skipped"] += found.skipped > 0
        cancels = self.fleet.database.query("select facts from wf_history where run in (select id from wf_run where workflow = 'chore')")
        sometimes["schedule: a run was cancelled"] += any("run_cancelled" in json.dumps(facts) for (facts,) in cancels)

    def _none_before_its_time(self) -> None:
        for key, created in self.fleet.database.query("select key, created_at from wf_run where workflow = 'chore'"):
            if created < datetime.fromisoformat(key.removeprefix("schedule:chores:")).timestamp():
                raise Violation(f"{key} was started before its time")

    def _one_at_a_time(self) -> None:
        runs = self.fleet.database.query("select created_at, ended_at from wf_run where workflow = 'chore' order by created_at")
        for (_, ended), (created, _) in pairwise(runs):
            if ended is None or ended > created:
                raise Violation(f"two runs at once under {self.overlap}")
