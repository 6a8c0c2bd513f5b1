"""What holds across runs: starts and their runs, tokens, messages, and what stands in the tables beside the runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from uuid import UUID

from wfcelery.service.invariants.registry import across_runs
from wfcelery.service.invariants.whole import Whole

Found = Iterator[tuple[UUID | None, str]]
ALLOWED = frozenset({"v", "ns", "org", "run", "step"})
MOST_BYTES = 1024


@across_runs(
    2,
    "starts",
    "Every acknowledged start exists or is older than the retention, every key has one run, and an unknown start has at most one.",
    "starts",
)
def acknowledged_starts_exist(whole: Whole) -> Found:
    many = Counter((run.organization_id, run.workflow, run.key) for run in whole.runs.values() if run.key is not None)
    told = set()
    for start in whole.ledgers.starts or ():
        gone = start.phase == "answered" and start.run is not None and start.run not in whole.runs
        if gone and start.run is not None and not whole.may_have_expired(start.run):
            yield start.run, "its start was acknowledged, and there is no such run"
        if start.key is None or start.workflow is None:
            continue
        place = start.organization_id, start.workflow, start.key
        if many[place] > 1 and not start.again and place not in told:
            told.add(place)
            yield None, f"key {start.key} of {start.workflow} has {many[place]} runs"
        if start.phase == "answered" and start.run is None and not many[place]:
            yield None, f"key {start.key} of {start.workflow} was acknowledged, and has no run"


@across_runs(3, "cause", "Every run was started by a client of the ledger, by a slot of a schedule or by a parent's step.", "starts")
def runs_have_a_cause(whole: Whole) -> Found:
    if whole.ledgers.starts is None:
        return
    sent = [start for start in whole.ledgers.starts if start.phase != "seen"]
    ids = {start.run for start in sent}
    keys = {(start.organization_id, start.workflow, start.key) for start in sent if start.key is not None}
    for id, run in whole.runs.items():  # noqa: A001
        of_a_slot = run.key is not None and run.key.startswith("schedule:")
        if id not in ids and (run.organization_id, run.workflow, run.key) not in keys and not run.child and not of_a_slot:
            yield id, "nobody started it"


@across_runs(9, "token", "No two runs have one token.")
def tokens_are_of_one_run(whole: Whole) -> Found:
    for one, other in whole.remains.shared:
        yield other, f"a step has the token of a step of run {one}"


@across_runs(23, "slots", "A slot of a schedule has one run at most and one fate, none before its time, and a sweep finds the next.")
def slots_have_one_fate(whole: Whole) -> Found:
    for name, fates in whole.remains.fates:
        for slot, many in Counter(fate["slot"] for fate in fates).items():
            if many > 1:
                yield None, f"slot {slot} of schedule {name} has {many} fates"
            if datetime.fromisoformat(slot) > whole.remains.now:
                yield None, f"slot {slot} of schedule {name} has a fate before its time"
    yield from ((None, f"{key} is the key of several runs") for key in whole.remains.doubles)
    yield from ((None, f"schedule {name} has a slot to come, and no time at which a sweep finds it") for name in whole.remains.asleep)


@across_runs(29, "claimed", "Every entry of the effects ledger is of a run that exists, or is older than the retention.", "effects")
def effects_are_of_runs(whole: Whole) -> Found:
    for run in sorted(whole.unseen):
        if not whole.may_have_expired(run):
            yield run, "the ledger has effects of it, and there is no such run"


@across_runs(39, "messages", "A message holds ids alone, in at most 1 KiB, and nothing of a payload.", "tap")
def messages_hold_ids_alone(whole: Whole) -> Found:
    for message in whole.ledgers.tap or ():
        body = message.body
        if not isinstance(body, Mapping):
            yield None, f"a message of {message.bytes} bytes is no object of ids"
        elif body.keys() - ALLOWED:
            yield None, f"a message holds {', '.join(sorted(map(str, body.keys() - ALLOWED)))}"
        elif message.bytes > MOST_BYTES:
            yield None, f"a message has {message.bytes} bytes"
        if any(canary in str(body) for canary in whole.ledgers.canaries):
            yield None, "a message holds a payload"


@across_runs(44, "nothing left", "When all has come to rest, queues are empty and no lock, transaction or process is left.", "drained")
def nothing_is_left_around(whole: Whole) -> Found:
    if whole.ledgers.drained:
        yield from ((None, f"{many} left: {what}") for what, many in whole.ledgers.left.items() if many)


@across_runs(46, "orphans", "No row is left without its run, and no child without its parent: what expires goes whole.")
def rows_belong_to_runs(whole: Whole) -> Found:
    yield from ((None, f"{many} rows of {table} are of no run") for table, many in whole.remains.orphans.items() if many)
    if whole.remains.half_trees:
        yield None, f"{whole.remains.half_trees} runs are children, and their parents are gone"


@across_runs(48, "schema", "The tables are of one release, this one's, recorded once.")
def there_is_one_schema(whole: Whole) -> Found:
    if whole.remains.schemas != [whole.remains.wanted]:
        yield None, f"the tables are at {', '.join(whole.remains.schemas) or 'nothing'}, this release wants {whole.remains.wanted}"
    if whole.remains.homes != 1:
        yield None, f"wf_meta has {whole.remains.homes} rows"
