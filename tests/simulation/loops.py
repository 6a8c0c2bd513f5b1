"""A loop beside the runs of a story: each of its runs continues as the next, and while that goes on it is moved to another version."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

from tests.simulation import verdicts
from tests.simulation.actors import SimProcess
from tests.simulation.bus import Message
from tests.simulation.fleet import Fleet
from tests.simulation.world import Violation
from wfcelery.authoring.yaml import load_yaml
from wfcelery.definition.model import Definition, canonical_json, signature
from wfcelery.store import definitions
from wfcelery.store.inbox import put
from wfcelery.store.starting import NewRun, insert_run

TURNS = 8
TEXT = f"""
name: loop
version: "1"
parameters: {{n: {{type: integer, default: 0}}}}
tasks:
  - {{name: nap, type: sleep, duration: 0.9s}}
  - {{name: next, type: continue_as_new, after: [nap], when: "parameters.n < {TURNS}", input: {{n: "{{{{ parameters.n + 1 }}}}"}}}}
output: "{{{{ parameters.n }}}}"
"""
MORE = (
    TEXT.replace('version: "1"', 'version: "2"')
    .replace("after: [nap]", "after: [nap, rest]")
    .replace("  - {name: next", "  - {name: rest, type: sleep, duration: 1.1s}\n  - {name: next")
)
FIRST, SECOND = load_yaml(TEXT), load_yaml(MORE)  # no author's code, so no author's ledger


def has_a_loop(seed: int) -> bool:
    """Of one seed in seven; nothing is drawn for it, so that the others are as they were."""
    return seed % 7 == 2


@dataclass
class Loop:
    """One loop of one world."""

    fleet: Fleet
    random: Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(f"{self.fleet.world.story.seed} loop")

    def begin(self) -> None:
        """It is there from the beginning, and somebody moves it now and then."""
        run = UUID(int=self.random.getrandbits(128), version=4)
        with self.fleet.database.quietly() as tx:
            for definition in (FIRST, SECOND):
                _store(tx, definition)
            assert insert_run(tx, NewRun(run, "default", "loop", signature(FIRST), '{"n":0}', "loop", key="the loop"))
        self.fleet.bus.put(Message("default", run))
        for seconds in sorted(self.random.uniform(0.5, 12.0) for _ in range(self.random.randint(0, 3))):
            self.fleet.world.spawn(SimProcess("mover"), self._move, seconds)

    def _move(self) -> None:
        """To the other version, whichever run goes on for it now."""
        going = "select id, definition from wf_run where workflow = 'loop' and active_key is not null"
        for run, signed in self.fleet.database.query(going):
            to = signature(SECOND if signed == signature(FIRST) else FIRST)
            with self.fleet.database.quietly() as tx:
                put(tx, "default", UUID(hex=run), "move", {"to": to, "by": "mover"})
            self.fleet.bus.put(Message("default", UUID(hex=run)))

    def check(self) -> None:
        """One run for each turn, each the next of the one before, and the key is the last one's."""
        look = "select id, status, input, continued_as, active_key, key from wf_run where workflow = 'loop'"
        plain = self.fleet.database.plain
        runs = {run: (status, json.loads(plain(given) or "{}"), *more) for run, status, given, *more in self.fleet.database.query(look)}
        told = f"{len(runs)} runs: {sorted(more[1]['n'] for more in runs.values())}"
        nexts = [more[2] for more in runs.values() if more[2] is not None]
        if len(nexts) != TURNS or len(set(nexts)) != TURNS or not set(nexts) <= runs.keys():
            raise Violation(f"a run of the loop was lost, or started twice: {told}")
        if sorted(more[1]["n"] for more in runs.values()) != list(range(TURNS + 1)):
            raise Violation(f"a turn of the loop was lost, or taken twice: {told}")
        if any(more[0] != "succeeded" or more[4] != "the loop" for more in runs.values()):
            raise Violation(f"a run of the loop has not succeeded, or lost its key: {told}")
        if [run for run, more in runs.items() if more[3] is not None] != [run for run, more in runs.items() if more[2] is None]:
            raise Violation("the key of the loop does not lead to its last run")
        for run in runs:
            verdicts.of_run(self.fleet, UUID(hex=run))
        histories = self.fleet.database.query("select facts from wf_history where run in (select id from wf_run where workflow = 'loop')")
        sometimes = self.fleet.world.sometimes
        sometimes["loop: a run was moved"] += any("run_moved" in json.dumps(facts) for (facts,) in histories)
        sometimes["loop: a move was refused"] += any("move_refused" in json.dumps(facts) for (facts,) in histories)


def _store(tx: object, definition: Definition) -> None:
    definitions.store(tx, signature(definition), definition.name, definition.version, canonical_json(definition), strict=False)  # type: ignore[arg-type]
