"""What must be true of a world: at every moment, and when everything has come to rest."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import AbstractContextManager
from typing import Any, cast
from uuid import UUID

from tests.simulation.authors import worth
from tests.simulation.database import SimDatabase
from tests.simulation.fleet import Fleet
from tests.simulation.stories import Graph
from tests.simulation.undoing import has_undone, wrong_order
from tests.simulation.world import Violation
from tests.unit.core import oracle
from tests.unit.core.generators import flat
from wfcelery.service.verifying import problems_of
from wfcelery.store.database import Database, Tx
from wfcelery.store.verifying import evidence

ENDED = ("succeeded", "failed", "cancelled", "timed_out")


class Quietly:
    """The world's database for those who only look: nothing goes wrong, and nobody else has a turn meanwhile."""

    dialect = "sqlite"

    def __init__(self, database: SimDatabase) -> None:
        self._database = database

    def transaction(self, isolation: str | None = None) -> AbstractContextManager[Tx]:
        return self._database.quietly()


def at_any_time(fleet: Fleet, versions: dict[str, tuple[int, str]]) -> None:
    """After every commit: versions rise by one, what is over stays over, nothing runs without a token."""
    for run, version, status in fleet.database.query("select id, version, status from wf_run"):
        before, was = versions.get(run, (version, status))
        if version not in (before, before + 1):
            raise Violation(f"run {run} went from version {before} to {version} in one commit")
        if was in ENDED and status != was and not _was_reopened(fleet, run, version):
            raise Violation(f"run {run} was {was} and is {status}")
        versions[run] = version, status


def _was_reopened(fleet: Fleet, run: str, version: int) -> bool:
    """Whether somebody's retry is what this commit applied; it may have ended the run again at once."""
    told = fleet.database.query("select facts from wf_history where run = ? and version = ?", run, version)
    again = ("run_reopened", "run_compensating")
    return any(fact["fact"] in again for (facts,) in told for fact in json.loads(facts))


def of_run(fleet: Fleet, run: UUID) -> None:
    """The checker's word on one run."""
    found = evidence(cast(Database, Quietly(fleet.database)), run)
    problems = problems_of(found) if found is not None else ["there is no such run"]
    if problems:
        raise Violation(f"run {run}: " + "; ".join(problems))


def at_rest(fleet: Fleet, run: UUID, graph: Graph, cancelled: bool) -> None:
    """A run that has ended: as the rules say it must, with the results that follow from its graph."""
    of_run(fleet, run)
    query = fleet.database.query
    [(status,)] = query("select status from wf_run where id = ?", run.hex)
    rows = query(
        "select name, status, output, failures, lost, attempt, why, token, error, id, item from wf_step where run = ? order by name, item",
        run.hex,
    )
    _undone(fleet, run, [row[0] for row in rows])
    # What undoes others, and hooks, stand in no graph; what was undone had succeeded.
    rows = [row for row in rows if not row[0].endswith((":compensate", ":hook"))]
    rows = [(row[0], "succeeded" if row[1] == "compensated" else row[1], fleet.database.plain(row[2]), *row[3:]) for row in rows]
    flats = oracle.flatten(graph)
    by_hand = decided_by_hand(fleet, run)
    tasks = {row[0]: row for row in rows if row[10] == -1}
    itself = any(flats[name].kind in ("end", "fail") and row[1] == "succeeded" for name, row in tasks.items())
    if status == "succeeded" and not itself:
        _places(run, graph, flats, tasks, by_hand, _withdrawn(fleet, run, graph))
    _results(run, flats, rows, by_hand)
    _letters(fleet, run, rows)
    _added(fleet, run, rows)
    if status == "failed" and not cancelled and not itself and not any(row[1] in ("failed", "timed_out") for row in rows):
        raise Violation(f"run {run} failed, though none of its steps did")
    if status == "cancelled" and not cancelled:
        raise Violation(f"run {run} is cancelled, and nobody asked for it")


def _undone(fleet: Fleet, run: UUID, names: list[str]) -> None:
    """What was undone was so in the reverse order of the ends, as those who did it wrote it down."""
    if not has_undone(names):
        return
    fleet.world.sometimes["something was undone"] += 1
    steps = {UUID(hex=id_): name for id_, name in fleet.database.query("select id, name from wf_step where run = ?", run.hex)}
    begun = [steps[effect.step] for effect in fleet.authors.ledger if effect.phase == "begun" and effect.step in steps]
    told = fleet.database.query("select facts from wf_history where run = ? order by version", run.hex)
    wrong = wrong_order((facts for (facts,) in told), begun)
    if wrong is not None:
        raise Violation(f"run {run}: {wrong}")


def decided_by_hand(fleet: Fleet, run: UUID) -> dict[str, str]:
    """The steps that somebody skipped or completed, and how."""
    found: dict[str, str] = {}
    for (facts,) in fleet.database.query("select facts from wf_history where run = ?", run.hex):
        told = [fact for fact in json.loads(facts) if fact.get("why") == "operator"]
        found |= {fact["step"]: fact["fact"].removeprefix("step_") for fact in told}
    return found


def _withdrawn(fleet: Fleet, run: UUID, graph: Graph) -> dict[str, set[str]]:
    """Steps that were called off, or came too late, before they had begun: each because another had succeeded that says so."""
    found: dict[str, set[str]] = {"called_off": set(), "too_late": set()}
    says = {task["name"]: task for task in flat(graph["tasks"])}
    before: set[str] = set()  # what has succeeded, and led on, in an earlier commit
    for (facts,) in fleet.database.query("select facts from wf_history where run = ? order by version", run.hex):
        told = json.loads(facts)
        now = {fact["step"] for fact in told if fact["fact"] in ("step_succeeded", "wait_came", "fan_out_decided", "step_advanced")}
        for fact in told:
            name, by = fact.get("step"), fact.get("by")
            if fact["fact"] == "step_skipped" and by in says:
                word, one, other = ("called_off", by, name) if fact["why"] == "dead" else ("too_late", name, by)
                if by not in before | now or other not in says[one].get("cancels" if word == "called_off" else "unless_reached", ()):
                    raise Violation(f"run {run}: {name} was withdrawn because of {by}, which says nothing of it")
                found[word].add(name)
            called_off = any(name in says[of].get("cancels", ()) for of in before & says.keys())
            plain = name in says and "items" not in says[name] and not fact.get("reported")
            if called_off and plain and fact["fact"] in ("step_ready", "step_succeeded", "step_failed", "wait_came"):
                raise Violation(f"run {run}: {fact['fact']} of {name}, which had been called off")
            if fact["fact"] == "step_ready" and name in says and not before.isdisjoint(says[name].get("unless_reached", ())):
                raise Violation(f"run {run}: {name} is ready, and its time was over")
        before |= now
        before -= {fact["step"] for fact in told if fact["fact"] == "step_unadvanced"}
    return found


def _places(
    run: UUID,
    graph: Graph,
    flats: dict[str, oracle.Flat],
    tasks: dict[str, tuple[Any, ...]],
    by_hand: dict[str, str],
    withdrawn: dict[str, set[str]],
) -> None:
    """Every step stands where the rules put it, given how the executed ones ended."""
    ends = {name: row[1] for name, row in tasks.items() if row[1] in ("succeeded", "failed", "timed_out", "cancelled")}
    ends |= {name: how for name, how in by_hand.items() if how == "skipped"}
    expected = oracle.places(graph, ends, flats, **withdrawn)
    for name, place in expected.items():
        if name in by_hand or ends.get(name) == "cancelled":  # or as the rest of a join that took what it wanted
            continue
        stands = tasks[name][1] if name in tasks else None
        fits = {
            "started": stands in ("succeeded", "failed", "timed_out", "cancelled"),
            "skipped": stands == "skipped",
            "dead": stands in ("skipped", None),
            "unreached": stands is None,
            "blocked": stands in ("skipped", "cancelled", None),
        }[place.what]
        if not fits:
            raise Violation(f"run {run}: by the rules {name} is {place.what}; it is {stands}")


def _results(run: UUID, flats: dict[str, oracle.Flat], rows: list[tuple[Any, ...]], by_hand: dict[str, str]) -> None:
    """Every recorded result is what the author's code makes of the recorded results before it."""
    outputs: dict[str, Any] = {}
    items: dict[str, list[Any]] = {}
    fans = {row[0] for row in rows if row[10] >= 0}
    ends = {row[0]: row[1] for row in rows if row[10] < 0}
    for row in rows:
        name, status, output, item = row[0], row[1], row[2], row[10]
        value = json.loads(output) if output is not None else None
        if item >= 0:
            items.setdefault(name, []).append(value if status == "succeeded" and row[6] != "late" else None)
        elif status == "succeeded" and name not in fans:
            outputs[name] = value
    for row in rows:
        name, status, output, item = row[0], row[1], row[2], row[10]
        flat = flats[name]
        if status != "succeeded" or flat.kind != "action" or name in by_hand or (item < 0 and "items" in flat.task):
            continue
        expected = worth(name, item, {source: _value(source, flats, ends, outputs, items) for source in flat.task.get("needs", ())})
        if json.loads(output) != expected and not _has_failures(flats, flat, ends):
            raise Violation(f"run {run}: {name}[{item}] is worth {output}, its input says {json.dumps(expected)}")


def _value(source: str, flats: dict[str, oracle.Flat], ends: dict[str, str], outputs: dict[str, Any], items: dict[str, list[Any]]) -> Any:
    """What a step behind it sees: of a fan-out that was skipped nothing, of one without items an empty list."""
    if "items" in flats[source].task and ends.get(source) != "skipped":
        return items.get(source, [])
    return outputs.get(source)


def _has_failures(flats: dict[str, oracle.Flat], flat: oracle.Flat, ends: dict[str, str]) -> bool:
    """Whether a source may be a `Failed` value instead of a result, or have some in it: it goes on, or its failure leads on."""
    return any(
        not flats[source].task.keys().isdisjoint(("success", "tolerate"))
        or flats[source].task.get("on_error") == "continue"
        or flats[source].kind != "action"
        or ends.get(source) in ("failed", "timed_out")
        for source in flat.task.get("needs", ())
    )


def _letters(fleet: Fleet, run: UUID, rows: list[tuple[Any, ...]]) -> None:
    """Each step that failed has one open or handled dead letter, and no other has."""
    letters = Counter(
        row[0] for row in fleet.database.query("select step from wf_dead_letter where run = ? and status in ('open', 'handled')", run.hex)
    )
    items = {row[9] for row in rows if row[10] >= 0}
    for row in rows:
        failed = row[1] in ("failed", "timed_out") and row[6] != "stopped"
        if row[9] in items and letters[row[9]] > 1:
            raise Violation(f"run {run}: item {row[10]} of {row[0]} has {letters[row[9]]} dead letters")
        if row[9] not in items and row[0] not in {other[0] for other in rows if other[10] >= 0} and failed and letters[row[9]] != 1:
            raise Violation(f"run {run}: {row[0]} is {row[1]} and has {letters[row[9]]} dead letters")


def _added(fleet: Fleet, run: UUID, rows: list[tuple[Any, ...]]) -> None:
    """What an item's own code adds, before that item is recorded, is never refused because the others had ended."""
    good = {str(UUID(str(row[7]))) for row in rows if row[10] >= 0 and row[1] == "succeeded" and row[6] is None and row[7] is not None}
    for (facts,) in fleet.database.query("select facts from wf_history where run = ?", run.hex):
        for fact in json.loads(facts):
            over = fact["fact"] == "items_refused" and fact.get("why") in ("it is succeeded", "the run is succeeded")
            if over and fact.get("by") in good:
                raise Violation(f"run {run}: an item of {fact.get('step')} added others while it ran, and they were refused: {fact['why']}")


def nothing_was_lost(fleet: Fleet) -> None:
    """Where only the database was away for a while, every attempt that was claimed is still its worker's, and ends."""
    for name, lost in fleet.database.query("select name, lost from wf_step where lost > 0"):
        raise Violation(f"the database was away, and {lost} attempt(s) of {name} were lost")


def effects(fleet: Fleet) -> None:
    """Every effect has its claim; a transactional one happened exactly once where its step is recorded, and not at all elsewhere."""
    query = fleet.database.query
    done = Counter(key for (key,) in query("select key from effects"))
    for key, count in done.items():
        if count != 1:
            raise Violation(f"the transactional effect of {key} was applied {count} times")
    for effect, status, name, attempt, run in query(
        "select e.key, s.status, s.name, s.attempt, s.run from wf_step s left join effects e on e.step = s.id"
    ):
        transactional = f"do.{name}" in fleet.world.story.transactional
        if effect is not None and status not in ("succeeded", "compensated"):
            raise Violation(f"{name} is {status}, and its transaction has committed")
        if transactional and effect is None and status == "succeeded" and attempt > 0 and name not in decided_by_hand(fleet, UUID(hex=run)):
            raise Violation(f"{name} has succeeded, and its transactional effect is missing")
    keys: dict[UUID, str] = {}
    for effect_ in fleet.authors.ledger:
        if keys.setdefault(effect_.step, effect_.key) != effect_.key:
            raise Violation(f"step {effect_.step} was given two idempotency keys")


def slots(fleet: Fleet) -> None:
    """No limit has more slots given than there are."""
    look = (
        "select l.kind, l.key from wf_limit l join wf_limit_use u on u.kind = l.kind and u.key = l.key "
        "where l.kind in ('limit', 'lock') group by l.kind, l.key having sum(u.granted) > max(l.slots, 2 * (l.kind = 'limit'))"
    )
    for kind, key in fleet.database.query(look):
        raise Violation(f"{kind} {key} has more slots given than there are")


def nobody_has_a_slot(fleet: Fleet) -> None:
    """When all runs have ended nobody has a slot, and nobody waits for one."""
    for kind, key, step in fleet.database.query("select kind, key, step from wf_limit_use limit 1"):
        raise Violation(f"{kind} {key} is still used or waited for by step {step}")
