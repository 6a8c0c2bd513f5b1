"""Runs that wait for events beside those of a story, and those who send them: too early, in time, too late, twice, and to nobody."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from random import Random
from uuid import UUID

from tests.simulation import verdicts
from tests.simulation.actors import SimProcess
from tests.simulation.bus import Message
from tests.simulation.fleet import Fleet
from tests.simulation.world import Violation
from wfcelery.authoring.yaml import load_yaml
from wfcelery.definition.model import canonical_json, signature
from wfcelery.store import definitions, events
from wfcelery.store.inbox import put
from wfcelery.store.starting import NewRun, insert_run

TEXT = """
name: listener
parameters: {key: {type: string, required: true}}
tasks:
  - {name: heard, type: wait, event: news, key: "{{ parameters.key }}", timeout: 3s}
  - {name: unheard, type: sleep, duration: 0.2s, after: {heard: timed_out}}
  - name: first
    type: race
    tasks:
      - {name: told, type: wait, event: tale, key: "{{ parameters.key }}"}
      - {name: rest, type: sleep, duration: 2.5s}
output: ["{{ task.first.result.won }}", "{{ task.unheard.status }}"]
"""
LISTENER = load_yaml(TEXT)  # no author's code, so no author's ledger
KEYS = ("a", "b")
_WAITS = """
select w.run, w.step, w.status, w.name, w.key, w.due_at, s.output, r.status from wf_wait w
join wf_step s on s.id = w.step join wf_run r on r.id = w.run where w.kind = 'event'
"""


def has_listeners(seed: int) -> bool:
    """Of one seed in seven; nothing is drawn for it, so that the others are as they were."""
    return seed % 7 == 4


@dataclass
class Listening:
    """All who listen and all who talk in one world."""

    fleet: Fleet
    random: Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(f"{self.fleet.world.story.seed} listening")

    def begin(self) -> None:
        """Listeners of few keys, so that they compete, and events that know nothing of them."""
        with self.fleet.database.quietly() as tx:
            signed, body = signature(LISTENER), canonical_json(LISTENER)
            definitions.store(tx, signed, "listener", "1", body, strict=False)
            for _ in range(self.random.randint(1, 4)):
                given = json.dumps({"key": self.random.choice(KEYS)})
                delay = self.random.choice((0.0, 0.0, self.random.uniform(0.5, 4.0)))
                assert insert_run(tx, NewRun(self._id(), "default", "listener", signed, given, "listener", delay=delay))
        for number in range(self.random.randint(1, 8)):
            self.fleet.world.spawn(SimProcess("sender"), partial(self._send, number), self.random.uniform(0.0, 7.0))
        if self.random.random() < 0.3:
            self.fleet.world.spawn(SimProcess("canceller"), self._cancel, self.random.uniform(0.5, 4.0))

    def _id(self) -> UUID:
        return UUID(int=self.random.getrandbits(128), version=4)

    def _send(self, number: int) -> None:
        """One event, perhaps twice, and its rings, perhaps lost."""
        data, dedup = json.dumps(number), f"{number}" if self.random.random() < 0.5 else None
        name, key = self.random.choice(("news", "tale")), self.random.choice((*KEYS, "nobody"))
        for _ in range(2 if dedup is not None else 1):
            new = events.NewEvent(self._id(), "default", name, key, data, dedup=dedup)
            with self.fleet.database.quietly() as tx:
                led = events.lead(tx, [new.id]) if events.insert(tx, new) == new.id else None
            for ring in led.rings if led is not None else ():
                if self.random.random() < 0.7:
                    self.fleet.bus.put(Message("default", ring.run))

    def _cancel(self) -> None:
        going = self.fleet.database.query("select id from wf_run where workflow = 'listener' and ended_at is null")
        if going:
            with self.fleet.database.quietly() as tx:
                put(tx, "default", UUID(hex=going[0][0]), "cancel", {"reason": "enough", "by": None})
            self.fleet.bus.put(Message("default", UUID(hex=going[0][0])))

    def check(self) -> None:
        """Each event was consumed once at most, by a wait of its own in time; no wait gave up beside an event that came before."""
        query, plain = self.fleet.database.query, self.fleet.database.plain
        sent = query("select id, name, key, status, at, consumed_by, data from wf_event")
        waits = query(_WAITS)
        rests = dict(query("select run, due_at from wf_wait where kind = 'sleep' and name = 'first'"))
        by_step = {
            step: (status, name, key, due or rests.get(run), plain(output)) for run, step, status, name, key, due, output, _ in waits
        }
        consumed = [event for event in sent if event[3] == "consumed"]
        if len({event[5] for event in consumed}) != len(consumed):
            raise Violation("two events were consumed by one wait")
        if len(consumed) != sum(found[0] == "met" for found in by_step.values()):
            raise Violation("a wait was met without an event, or an event consumed without a wait")
        for id_, name, key, _, at, step, data in consumed:
            status, *mine, due, output = by_step[step]
            if status != "met" or mine != [name, key] or output != plain(data) or (due is not None and at > due):
                raise Violation(f"event {id_} was consumed by a wait that it is not for: {status} {mine} {due} {at}")
        for run, _, status, name, key, due, _, ended in waits:
            if ended == "succeeded" and status in ("due", "cancelled"):
                self._gave_up(sent, name, key, due if due is not None else rests.get(run))
        self._ended(query("select id, status from wf_run where workflow = 'listener'"))
        sometimes = self.fleet.world.sometimes
        for _, _, status, *_ in waits:
            sometimes[f"listening: a wait was {status}"] += 1
        sometimes["listening: an event is kept"] += any(event[3] == "stored" for event in sent)

    def _gave_up(self, sent: list[tuple[object, ...]], name: str, key: str, until: float | None) -> None:
        left = [event for event in sent if event[1:4] == (name, key, "stored") and (until is None or float(str(event[4])) <= until)]
        if left:
            raise Violation(f"a wait for {name} {key} gave up at {until}, and event {left[0][0]} of {left[0][4]} is left")

    def _ended(self, runs: list[tuple[str, str]]) -> None:
        for run, status in runs:
            if status not in ("succeeded", "cancelled"):
                raise Violation(f"listener {run} is {status}")
            verdicts.of_run(self.fleet, UUID(hex=run))
