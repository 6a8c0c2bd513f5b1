"""One wrong write, or one edit of a ledger, for each invariant; applied to clean runs in a transaction that never commits."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from tests.corruption.clean import Clean
from tests.store.rows import ago
from wfcelery.service.invariants import Carried, Effect, Ledgers, Start
from wfcelery.store.database import Tx
from wfcelery.store.statements import Statement

Facts = list[dict[str, Any]]


@dataclass(slots=True)
class Hand:
    """What a corruptor works with: the clean runs, and the transaction that will be rolled back."""

    clean: Clean
    tx: Tx

    def write(self, text: str) -> None:
        """One statement. `{order}` and the like stand for runs, `{random}` for a new id, `{now}`, `{ago}`, `{ahead}` for moments."""
        ids = {name: self.literal(run) for name, run in self.clean.runs.items()}
        moments = {"now": ago(self.clean.database, 0), "ago": ago(self.clean.database, 3600), "ahead": ago(self.clean.database, -1e6)}
        changed = self.tx.execute(Statement(sa.text(text.format(**ids, **moments, random=self.literal(uuid4())))))
        assert changed.count == 1, f"{text} changed {changed.count} rows"

    def literal(self, id: UUID) -> str:
        """An id as this database writes it."""
        return f"'{id if self.tx.dialect == 'postgresql' else id.hex}'"

    def history(self, run: str, edit: Callable[[dict[int, Facts]], None]) -> None:
        """Change facts of a run's history: `edit` gets them by their versions."""
        table = sa.table("wf_history", sa.column("run", sa.Uuid), sa.column("version", sa.Integer), sa.column("facts", sa.Text))
        mine = table.c.run == sa.bindparam("of", type_=sa.Uuid)
        rows = self.tx.execute(Statement(sa.select(table.c.version, table.c.facts).where(mine)), {"of": self.clean.runs[run]}).rows
        before = {version: json.loads(facts) for version, facts in sorted(rows)}
        after = json.loads(json.dumps(before), object_hook=lambda found: {_key(key): value for key, value in found.items()})
        edit(after)
        assert after != before, "the edit changes nothing"
        change = sa.update(table).where(mine, table.c.version == sa.bindparam("at", type_=sa.Integer))
        for version, facts in after.items():
            if facts != before[version]:
                text = json.dumps(facts, separators=(",", ":"))
                self.tx.execute(
                    Statement(change.values(facts=sa.bindparam("said", type_=sa.Text))),
                    {"of": self.clean.runs[run], "at": version, "said": text},
                )


def _key(key: str) -> Any:
    return int(key) if key.isdigit() else key


Make = Callable[[Hand], Ledgers | None]


@dataclass(frozen=True, slots=True)
class Corruptor:
    """A number, what is done wrong, and which invariants necessarily fall with it."""

    number: int
    what: str
    make: Make  # the ledgers to judge with, where they are not the clean ones
    runs: Sequence[str] | None = None  # judged alone, where the others are not at rest
    also: frozenset[int] = field(default=frozenset())


def sql(text: str, ledgers: Mapping[str, Any] | None = None) -> Make:
    """A write, and perhaps what else the checker is told."""

    def make(hand: Hand) -> Ledgers | None:
        hand.write(text)
        return None if ledgers is None else replace(hand.clean.ledgers, **ledgers)

    return make


def told(**more: Any) -> Make:
    """Other words of those around the database."""
    return lambda hand: replace(hand.clean.ledgers, **more)


def history(run: str, edit: Callable[[dict[int, Facts]], None]) -> Make:
    """A change of facts."""

    def make(hand: Hand) -> None:
        hand.history(run, edit)

    return make


def effects(edit: Callable[[list[Effect]], list[Effect]], run: str = "order") -> Make:
    """A change of a run's entries in the effects ledger."""

    def make(hand: Hand) -> Ledgers:
        known = hand.clean.ledgers.effects or {}
        mine = hand.clean.runs[run]
        edited = edit(list(known[mine]))
        assert edited != known[mine], "the edit changes nothing"
        return replace(hand.clean.ledgers, effects={**known, mine: edited})

    return make


def starts(edit: Callable[[Hand, list[Start]], list[Start]]) -> Make:
    """A change of the clients' ledger."""
    return lambda hand: replace(hand.clean.ledgers, starts=edit(hand, list(hand.clean.ledgers.starts or ())))


def _of(commits: dict[int, Facts], what: str, step: str | None = None) -> tuple[int, dict[str, Any]]:
    """The first fact of this kind, and its version."""
    return next(
        (version, fact) for version, facts in commits.items() for fact in facts if fact["fact"] == what and step in (None, fact.get("step"))
    )


def _too_early(commits: dict[int, Facts]) -> None:
    version, fact = _of(commits, "step_ready", "c")
    commits[version].remove(fact)
    commits[version - 1].append(fact)


def _one_way_less(commits: dict[int, Facts]) -> None:
    version, fact = _of(commits, "step_blocked", "joined")
    commits[version].remove(fact)


def _twice(commits: dict[int, Facts]) -> None:
    version, fact = _of(commits, "step_ready", "last")
    commits[version].append(dict(fact))


def _longer_delay(commits: dict[int, Facts]) -> None:
    _of(commits, "step_retried", "c")[1]["delay"] = 60.0


def _claimed_late(commits: dict[int, Facts]) -> None:
    fact = _of(commits, "step_succeeded", "slow")[1]
    fact["started"] = (datetime.fromisoformat(fact["started"]) + timedelta(hours=1)).isoformat()


def _timed_out_early(commits: dict[int, Facts]) -> None:
    fact = _of(commits, "step_retried", "left")[1]
    fact["started"] = (datetime.fromisoformat(fact["started"]) + timedelta(seconds=9)).isoformat()


def _completed_twice(commits: dict[int, Facts]) -> None:
    version, fact = _of(commits, "wait_came", "right")
    commits[version].append(dict(fact))


def _goes_on(commits: dict[int, Facts]) -> None:
    """The end of the run was told one commit before its last."""
    last = max(commits)
    fact = next(fact for fact in commits[last] if fact["fact"] == "run_succeeded")
    commits[last - 1].append(fact)


def _changed(step: str, phase: str, **changes: Any) -> Callable[[list[Effect]], list[Effect]]:
    return lambda found: [replace(each, **changes) if (each.step, each.phase) == (step, phase) else each for each in found]


def _without(step: str, phase: str) -> Callable[[list[Effect]], list[Effect]]:
    return lambda found: [each for each in found if (each.step, each.phase) != (step, phase)]


def _again(step: str, phase: str) -> Callable[[list[Effect]], list[Effect]]:
    return lambda found: found + [each for each in found if (each.step, each.phase) == (step, phase)]


def _the_first_first(commits: dict[int, Facts]) -> None:
    _of(commits, "run_compensating")[1]["steps"].reverse()


def _said_no(commits: dict[int, Facts]) -> None:
    _of(commits, "wait_met", "ask")[1]["outcome"] = "rejected"


def _answered_twice(commits: dict[int, Facts]) -> None:
    version, fact = _of(commits, "wait_met", "ask")
    commits[version].append(dict(fact))


def _closed_late(commits: dict[int, Facts]) -> None:
    """What was called off was closed one commit later."""
    version, fact = _of(commits, "step_cancelled", "slow")
    commits[version].remove(fact)
    commits[version + 1].append(fact)


LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
ENDED = ("order", "failed")

CORRUPTORS = [
    Corruptor(1, "a run under way, when all is said to be at rest", told(drained=True), ("open",)),
    Corruptor(2, "a start was acknowledged, and its run is not there", starts(lambda _, all_: [*all_, Start("answered", uuid4())])),
    Corruptor(2, "two runs of one key", sql("update wf_run set key = 'k' where id = {reported}")),
    Corruptor(3, "a run that no client started", starts(lambda hand, all_: [one for one in all_ if one.run != hand.clean.runs["order"]])),
    Corruptor(4, "a skipped step's row is gone", sql("delete from wf_step where run = {order} and name = 'skipped'")),
    Corruptor(5, "another body under a signature", sql("update wf_definition set body = replace(body, '500', '501') where name = 'order'")),
    Corruptor(6, "a step was ready one commit before its predecessor ended", history("order", _too_early)),
    Corruptor(7, "another result in a row", sql("update wf_step set output = '\"x\"' where run = {order} and name = 'joined'")),
    Corruptor(7, "an item's other result", sql("update wf_step set output = '\"x\"' where run = {order} and name = 'pack' and item = 2")),
    Corruptor(7, "a wait completed twice in the history", history("order", _completed_twice)),
    Corruptor(8, "one attempt too many on a row", sql("update wf_step set attempt = attempt + 1 where run = {order} and name = 'b'")),
    Corruptor(9, "the token of a result is gone", sql("update wf_step set token = null where run = {order} and name = 'a'")),
    Corruptor(
        9, "two runs have one token",
        sql(
            "update wf_step set token = (select token from wf_step where run = {failed} and name = 'bad') "
            "where run = {order} and name = 'a'"
        ),
    ),
    Corruptor(10, "an attempt was closed after the next began", sql(
        "update wf_history set at = (select at from wf_history as l where l.run = {order} order by version desc limit 1) "
        "where run = {order} and version = "
        "(select min(version) from wf_history as r where r.run = {order} and r.facts like '%step_retried%')"
    )),
    Corruptor(11, "a retry began before its delay was over", history("order", _longer_delay)),
    Corruptor(12, "a dead letter is gone", sql("delete from wf_dead_letter where run = {failed}")),
    Corruptor(12, "a dead letter says handled, and the failure stopped the run", sql(
        "update wf_dead_letter set status = 'handled' where run = {failed}"
    )),
    Corruptor(13, "a step was skipped for another reason", sql("update wf_step set why = 'dead' where run = {order} and name = 'skipped'")),
    Corruptor(14, "a join began after one of its two ways", history("order", _one_way_less)),
    Corruptor(14, "a step began twice", history("order", _twice)),
    Corruptor(15, "an item's row is gone", sql("delete from wf_step where run = {order} and name = 'pack' and item = 2")),
    Corruptor(17, "an attempt was claimed after the run was ending", history("failed", _claimed_late)),
    Corruptor(18, "a timeout fired before its time", history("order", _timed_out_early)),
    Corruptor(16, "what ended first was to be undone first", history("undone", _the_first_first)),
    Corruptor(16, "a step says that it was undone, and was not", sql(
        "update wf_step set status = 'succeeded' where run = {undone} and name = 'first'"
    ), also=frozenset({32})),
    Corruptor(19, "a timer fired an hour early", sql(
        "update wf_wait set due_at = (select due_at from wf_wait as w where w.run = {open} and w.due_at is not null) where run = {order}"
    )),
    Corruptor(20, "an event was consumed by a wait for another", sql("update wf_event set key = 'yesterday' where name = 'news'")),
    Corruptor(20, "an event was sent to another run", sql("update wf_event set run = {open} where name = 'news'")),
    Corruptor(22, "a wait was cancelled, and its step succeeded", sql("update wf_wait set status = 'cancelled' where run = {order}")),
    Corruptor(22, "a step waits, and its wait is gone", sql("delete from wf_wait where run = {open} and due_at is not null")),
    Corruptor(23, "slots have two fates each", sql(
        "update wf_schedule set recent = '[' || {inner} || ',' || {inner} || ']'".format(inner="substr(recent, 2, length(recent) - 2)")
    )),
    Corruptor(23, "a schedule whose next slot no sweep finds", sql("update wf_schedule set due_at = null")),
    Corruptor(26, "a transactional step's effect is missing", effects(_without("a", "applied"))),
    Corruptor(27, "an idempotent step's effect is there twice", effects(_again("b", "applied"))),
    Corruptor(28, "a plain step was called twice in one attempt", effects(_again("joined", "begun"))),
    Corruptor(29, "a step ran under a key that is not its own", effects(_changed("joined", "begun", key="x"))),
    Corruptor(29, "an attempt ran that nobody had claimed", effects(_changed("joined", "ended", attempt=7))),
    Corruptor(30, "the stored result is not what the step returned", effects(_changed("c", "ended", result="x"))),
    Corruptor(30, "the stored input is not what the client sent", sql("update wf_run set input_digest = 'x' where id = {order}")),
    Corruptor(31, "a commit is missing from the history", sql("delete from wf_history where run = {order} and version = 3")),
    Corruptor(32, "a failure that the history does not know", sql("update wf_step set failures = 1 where run = {order} and name = 'a'")),
    Corruptor(32, "a variable that the history does not know", sql("update wf_run set variables = '{{}}' where id = {order}")),
    Corruptor(34, "a delayed run has lost its time", sql("update wf_run set due_at = null where id = {later}")),
    Corruptor(35, "a report has no row in the inbox", sql("delete from wf_inbox where run = {reported}")),
    Corruptor(35, "nobody will ring for a ready step", sql("update wf_step set ring_at = null where run = {open} and name = 'again'")),
    Corruptor(35, "nothing waits for a run's deadline", sql("update wf_run set deadline = {ahead} where id = {open}")),
    Corruptor(36, "a run could have begun long ago", sql("update wf_run set due_at = {ago} where id = {later}", {"bound": 600.0})),
    Corruptor(38, "a commit of another organization", sql(
        "update wf_history set organization_id = 'other' where run = {order} and version = 2"
    )),
    Corruptor(39, "a message with a payload", told(tap=[Carried({"v": 1, "args": [1]}, 40)])),
    Corruptor(39, "a message of 2 KiB", told(tap=[Carried({"v": 1}, 2048)])),
    Corruptor(40, "a statement in an error", sql("update wf_run set error = '{{\"message\": \"[SQL: select 1]\"}}' where id = {failed}")),
    Corruptor(40, "a payload in an error", sql("update wf_run set error = '{{\"message\": \"canary-7\"}}' where id = {failed}")),
    Corruptor(41, "a commit without a history", sql("update wf_run set version = version + 1 where id = {order}")),
    Corruptor(42, "a client saw the end of a run that is live", starts(
        lambda hand, all_: [*all_, Start("seen", hand.clean.runs["open"], status="succeeded")]
    )),
    Corruptor(42, "a run went on after its end", history("order", _goes_on)),
    Corruptor(43, "a counter that no recount gives", sql("update wf_run set open_steps = open_steps + 1 where id = {open}")),
    Corruptor(43, "a fan-out's counter that no recount gives", sql(
        "update wf_step set items_left = 1 where run = {open} and name = 'pack' and item = -1"
    )),
    Corruptor(44, "a fact is left in an ended run's inbox", sql(
        "update wf_inbox set run = {order} where run = {reported}", {"drained": True}
    ), ENDED),
    Corruptor(44, "a message is left in a queue", told(drained=True, left={"queue celery": 1}), ENDED),
    Corruptor(45, "nobody rings for an inbox, and nothing says why", sql(
        "update wf_inbox set ring_at = {ahead} where run = {reported}"
    )),
    Corruptor(46, "a wait of no step", sql("update wf_wait set step = {random} where run = {order}")),
    Corruptor(46, "a child's parent is gone", sql("update wf_run set parent_step = {random} where id = {order}")),
    Corruptor(47, "a run ended long after the last fault", told(drained=True, healed_at=LONG_AGO, within=60.0), ENDED),
    Corruptor(48, "two versions of the tables", sql("insert into wf_alembic_version (version_num) values ('x')")),
    Corruptor(24, "a call waits for a child that nobody has begun", sql(
        "update wf_step set fired = 2 where run = {open} and name = 'calls'"
    )),
    Corruptor(25, "a slot of a step that has no use for it", sql(
        "insert into wf_limit_use (id, organization_id, kind, key, run, step, granted, wanted, priority, asked_at) "
        "select {random}, 'default', 'lock', 'till', {order}, {random}, 1, 0, 0, {now}"
    )),
    Corruptor(49, "an item is held for no reason", sql(
        "update wf_step set why = 'x' where run = {open} and name = 'pack' and item = 3"
    )),
    Corruptor(51, "a large value is gone from beside its row", sql(
        "update wf_step set output = '{{\"$wf\":[\"payload\",\"0190a5e4-0000-7000-8000-000000000000\",70000,\"x\"]}}' "
        "where run = {order} and name = 'joined'"
    )),
    Corruptor(58, "a run continues as one that its history does not know", sql(
        "update wf_run set continued_as = {random} where id = {order}"
    )),
    Corruptor(59, "an approval was rejected, and its step succeeded", history("asked", _said_no)),
    Corruptor(59, "an approval was answered twice", history("asked", _answered_twice), also=frozenset({7})),
    Corruptor(60, "what was called off was closed a commit later", history("called_off", _closed_late)),
    Corruptor(50, "a step was written while it ran", sql("update wf_step set ring_at = {now} where run = {open} and name = 'busy'")),
]  # fmt: skip
