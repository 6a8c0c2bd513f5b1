"""Runs and rows: what a history says and what its rows say is the same, and something moves every run on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from wfcelery.core.fan_out import is_open
from wfcelery.core.rows import NO_ITEM, StepRow
from wfcelery.core.states import RUN_ENDED, STEP_OPEN, UNDER_WAY, RunStatus, StepStatus
from wfcelery.definition.values import is_kept_back, mark_of
from wfcelery.service.invariants.case import Case, called, named
from wfcelery.service.invariants.chronicle import RUN_ENDS
from wfcelery.service.invariants.limits import waits_its_turn
from wfcelery.service.invariants.registry import invariant

_REOPENED = ("run_reopened", "run_compensating")
_AFTER_THE_END = (
    *_REOPENED,
    "retry_refused",
    "skip_refused",
    "complete_refused",
    "step_cancel_refused",
    "answer_refused",
    "assign_refused",
    "items_refused",
    "run_healed",
)
_SILENCED = timedelta(hours=1)  # no ring is put off so far, but of what was put aside


@invariant(1, "terminal", "When all has come to rest, every run has ended; what was put aside waits for a person.", "drained")
def run_has_ended(case: Case) -> Iterator[str]:
    if case.ledgers.drained and not case.ended and not case.quarantined:
        yield f"the run is {case.run.status} although all has come to rest"


@invariant(31, "sequence", "The versions of a run's history are 1, 2, 3 … without a gap.")
def history_has_no_gap(case: Case) -> Iterator[str]:
    if case.gap is not None:
        yield case.gap


@invariant(
    32,
    "folding",
    "Folding the history gives the stored state of the run and of every step, less what a claim or a step's own report writes.",
)
def history_folds_to_the_rows(case: Case) -> Iterator[str]:
    if case.unreadable is not None:
        yield f"the history cannot be folded: {case.unreadable}"
    folded, run = case.folded, case.run
    if folded is None:
        return
    for what, says, is_ in (
        ("status", folded.status, run.status),
        ("ending", folded.ending, None if run.ending is None else str(run.ending)),
    ):
        if says != is_:
            yield f"run: its history says {what} {says}, its row {is_}"
    if not is_kept_back(run.variables) and (
        folded.variables.keys() != run.variables.keys()
        or not all(case.is_of(folded.variables[name], value) for name, value in run.variables.items())
    ):
        yield f"run: its history says variables {folded.variables}, its row has others"
    output = next(
        (told.fact.get("value") for told in reversed(case.story.facts if case.story else []) if told.what == "run_succeeded"), None
    )
    if run.status is RunStatus.SUCCEEDED and output is not None and not case.is_of(output, run.output):
        yield "run: its output is not the one of its history"
    for place, row in case.rows.items():
        if place not in folded.steps:
            continue
        status = StepStatus.READY if row.status in UNDER_WAY else row.status
        for what, said, found in (
            ("status", folded.steps[place], status),
            ("failures", folded.failures.get(place, 0), row.failures),
            ("lost workers", folded.lost.get(place, 0), row.lost),
        ):
            if said != found:
                yield f"step {named(place)}: its history says {what} {said}, its row {found}"


@invariant(
    34,
    "live cause",
    "A run that has not ended has something that will move it: a row that is due or under way, a wait, its inbox, or who resumes it.",
)
def something_moves_the_run(case: Case) -> Iterator[str]:
    if case.ended or case.quarantined or case.found.inbox or case.found.open_waits or case.run.status is RunStatus.PAUSED:
        return
    if case.run.status is RunStatus.PENDING and case.found.due_at is not None:
        return
    if any(child.status not in RUN_ENDED for child in case.found.children):
        return
    moving = (StepStatus.READY, StepStatus.RUNNING, StepStatus.REPORTED)
    rows = case.found.steps
    unborn = any(row.status is StepStatus.WAITING and row.items_left and (row.expanded or 0) < row.wants for row in rows)
    if not unborn and all(row.status not in moving and not waits_its_turn(case, row) for row in rows):
        yield f"the run is {case.run.status}, and nothing will ever move it"


@invariant(35, "shape", "What is ready is rung for, what has reported is in the inbox, what is over has no deadline and no ring.")
def rows_have_the_shape_of_their_status(case: Case) -> Iterator[str]:
    reports = {(fact.data.get("step"), fact.data.get("token")) for fact in case.found.inbox if fact.fact == "reported"}
    for row in case.found.steps:
        times = case.found.times[row.id]
        if row.status is StepStatus.REPORTED and (str(row.id), str(row.token)) not in reports:
            yield f"step {called(row)}: a step has reported, and nothing in the inbox says so"
        if row.status is StepStatus.READY and (times.ring_at is None) is (row.item == NO_ITEM):
            yield f"step {called(row)} is ready, and {'nobody will ring for it' if row.item == NO_ITEM else 'it is rung for by itself'}"
        if times.deadline_at is not None and row.status is not StepStatus.RUNNING:
            yield f"step {called(row)} is {row.status}, and has a deadline"
        if row.item == NO_ITEM and row.items_left is not None and row.status is StepStatus.WAITING and times.ring_at is None:
            to_take = any(item.status is StepStatus.READY for item in case.items.get(row.id, ()))
            if to_take or (is_open(row) and (row.expanded or 0) < row.wants and case.run.ending is None):
                yield f"step {called(row)} has items to take, and nobody will ring for it"
        if case.ended and (row.status in STEP_OPEN or row.status is StepStatus.BLOCKED):
            yield f"step {called(row)} is {row.status}, and the run has ended"
    pending = case.run.status is RunStatus.PENDING
    if (case.found.ring_at is not None) is not pending and not case.found.inbox:
        yield f"the run is {case.run.status}, and {'nobody will ring for it' if pending else 'it is rung for as if it had not begun'}"
    if deadline_is_forgotten(case):
        yield f"the run has a deadline at {case.run.deadline}, and nothing waits for it"


def deadline_is_forgotten(case: Case) -> bool:
    """Whether a run that is under way has a deadline to come, and no time at which that would be noticed."""
    run, found = case.run, case.found
    under_way = run.version > 0 and not case.ended and run.ending is None and not case.quarantined
    return under_way and run.deadline is not None and run.deadline > found.now and found.due_at is None


@invariant(36, "in time", "With workers up, nothing that is due waits for longer than the bound.", "bound")
def nothing_is_late(case: Case) -> Iterator[str]:
    if case.ledgers.bound is None or case.quarantined:
        return
    late = case.found.now - timedelta(seconds=case.ledgers.bound)
    for row in case.found.steps:
        due = case.found.times[row.id].due_at
        if row.status is StepStatus.READY and due is not None and due < late:
            yield f"step {called(row)} is ready since {due.isoformat()}"
    for fact in case.found.inbox:
        if fact.at < late:
            yield f"the inbox holds a {fact.fact} since {fact.at.isoformat()}"
    if case.run.status is RunStatus.PAUSED and case.found.resume_at is not None and case.found.resume_at < late:
        yield f"the run's pause is over since {case.found.resume_at.isoformat()}"
    if case.run.status is RunStatus.PENDING and case.found.due_at is not None and case.found.due_at < late:
        yield f"the run could begin since {case.found.due_at.isoformat()}"


@invariant(38, "organization", "Everything that belongs to a run belongs to its organization.")
def rows_are_of_one_organization(case: Case) -> Iterator[str]:
    yield from (f"{table} holds a row of this run for another organization" for table in case.found.strangers)


@invariant(51, "payloads", "What stands beside a row because it is large is there, and is its organization's.")
def payloads_are_there(case: Case) -> Iterator[str]:
    run = case.run
    of_run = (("run", run.input), ("run", run.variables), ("run", run.output))
    for where, value in (*of_run, *((f"step {called(row)}", value) for row in case.found.steps for value in (row.input, row.output))):
        mark = mark_of(value)
        if mark is not None and mark[0] == "payload":
            yield f"{where}: payload {mark[1]} of {mark[2]} bytes is not there"


@invariant(41, "version", "The run's version is the number of its commits, as its history counts them.")
def version_counts_the_commits(case: Case) -> Iterator[str]:
    last = case.found.history[-1].version if case.found.history else 0
    if last != case.run.version:
        yield f"run: its history says version {last}, its row {case.run.version}"


@invariant(42, "end", "An ended run changes by a recorded retry alone, and nobody who saw its end sees it live again without one.")
def an_ended_run_stays_ended(case: Case) -> Iterator[str]:
    if case.story is None:
        return
    ended, at = None, 0
    for told in case.story.facts:
        if ended is not None and told.version > at and told.what not in _AFTER_THE_END:
            yield f"version {told.version} has {told.what}, and {ended} was said in version {at}"
            return
        if told.what in RUN_ENDS:
            ended, at = told.what, told.version
        elif told.what in _REOPENED:
            ended = None
    reopened = any(told.what in _REOPENED for told in case.story.facts)
    for start in case.ledgers.starts or ():
        seen = start.status if start.phase == "seen" and start.run == case.run.id else None
        if seen in RUN_ENDED and seen != case.run.status and not reopened:
            yield f"a client saw the run {seen}, and it is {case.run.status}"


@invariant(43, "counters", "The counters on rows are what a recount of the history gives.")
def counters_agree_with_a_recount(case: Case) -> Iterator[str]:
    folded, run = case.folded, case.run
    if folded is None:
        return
    for what, says, is_ in (("open steps", folded.open_steps(), run.open_steps), ("open waits", len(folded.waits), run.open_waits)):
        if says != is_:
            yield f"run: its history says {what} {says}, its row {is_}"
    for row in case.tasks():
        left = folded.items_left(row.name) if row.name in folded.sizes else None
        if left != row.items_left:
            yield f"step {row.name}: its history says items left {left}, its row {row.items_left}"
        if row.status is StepStatus.BLOCKED:
            blocked = _last_left(case, row)
            if blocked is not None and blocked != row.blockers:
                yield f"step {row.name}: its history says {blocked} ways are open, its row {row.blockers}"


def _last_left(case: Case, row: StepRow) -> int | None:
    told = [each.fact["left"] for each in (case.story.of if case.story else {}).get((row.name, NO_ITEM), ()) if "left" in each.fact]
    return told[-1] if told else None


@invariant(58, "next run", "A run that continues as a new one has succeeded, and its row and its history say as which.")
def a_run_continues_once(case: Case) -> Iterator[str]:
    if case.story is None:
        return
    told = [each.fact["continued_as"] for each in case.story.facts if each.fact.get("continued_as") is not None]
    found = [] if case.found.continued_as is None else [str(case.found.continued_as)]
    if told != found:
        yield f"the run continues as {found or 'none'}, and its history says {told or 'none'}"
    elif found and case.run.status is not RunStatus.SUCCEEDED:
        yield f"the run is {case.run.status}, and continues as {found[0]}"


@invariant(44, "nothing left", "When all has come to rest, no inbox holds anything, nor do the queues and servers around it.", "drained")
def nothing_is_left_of_the_run(case: Case) -> Iterator[str]:
    if case.ledgers.drained and case.found.inbox and not case.quarantined:
        yield f"the inbox still holds {', '.join(sorted(fact.fact for fact in case.found.inbox))}"


@invariant(45, "put aside", "Nobody ceases to ring for a run that goes wrong, unless an open dead letter says that it was put aside.")
def what_is_silenced_is_quarantined(case: Case) -> Iterator[str]:
    if case.quarantined:
        return
    silence = case.found.now + _SILENCED
    if any(fact.ring_at > silence for fact in case.found.inbox):
        yield "nobody rings for the run's inbox, and no dead letter says why"
    due = max(case.found.due_at or silence, silence)
    if case.found.ring_at is not None and case.found.ring_at > due + _SILENCED:
        yield "nobody rings for the run to begin, and no dead letter says why"


@invariant(47, "in the end", "After the last fault is over, every run ends within the bound.", "drained", "healed")
def runs_end_in_time(case: Case) -> Iterator[str]:
    healed, within = case.ledgers.healed_at, case.ledgers.within
    if not case.ledgers.drained or healed is None or within is None or case.found.ended_at is None:
        return
    took = (case.found.ended_at - healed).total_seconds()
    if took > within:
        yield f"the run ended {took:.1f} s after the last fault, later than {within:g} s"
