"""Attempts and results: numbered, never two at once, within their budgets, and each result recorded once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from wfcelery.core.attempts import MAX_LOST
from wfcelery.core.folding import Place
from wfcelery.core.quorums import TOO_FEW
from wfcelery.core.rows import NO_ITEM, StepRow
from wfcelery.core.states import STEP_ENDED, UNDER_WAY, StepStatus
from wfcelery.core.step_machine import OPERATOR
from wfcelery.service.invariants.case import Case, called, named
from wfcelery.service.invariants.chronicle import Chronicle, Closing
from wfcelery.service.invariants.registry import invariant
from wfcelery.store.dead_letters import Letter

SLACK = timedelta(milliseconds=10)  # of a clock that is read twice, and of spans that are rounded
_SWEPT = "the attempt took longer than its timeout"  # what the sweep says; a worker's own limit counts from the call
_COMPLETED = ("step_succeeded", "step_taken_over", "wait_came", "wait_met", "items_succeeded")
_BAD = (StepStatus.FAILED, StepStatus.TIMED_OUT)


@invariant(
    7,
    "one result",
    "A step that succeeded has one completion in its history and one result, the recorded one; one that was taken over no attempt.",
)
def results_are_recorded_once(case: Case) -> Iterator[str]:
    if case.story is None:
        return
    for place, row in case.rows.items():
        completed = [told for told in case.story.of.get(place, ()) if told.what in _COMPLETED and "then" not in told.fact]
        good = row.status in (StepStatus.SUCCEEDED, StepStatus.COMPENSATED)
        if len(completed) > 1 or (good and not completed):
            yield f"step {named(place)} has {len(completed)} completions in its history"
        if any(told.what == "step_taken_over" for told in completed) and (row.attempt or row.token is not None):
            yield f"step {named(place)} was taken over from another run, and has an attempt of its own"
        has_output = case.found.times[row.id].has_output
        if row.items_left is None and row.status in STEP_ENDED and has_output is not good:
            yield f"step {named(place)} is {row.status}, and {'has a' if has_output else 'its'} result{'' if has_output else ' is missing'}"
        elif (
            good
            and row.items_left is None
            and completed
            and completed[0].what != "items_succeeded"
            and (not case.is_of(completed[0].fact.get("value"), row.output))
        ):
            yield f"step {named(place)}: its result is not the one of its history"
    yield from _groups(case, case.story)


def _groups(case: Case, story: Chronicle) -> Iterator[str]:
    for told in story.facts:
        if told.what != "items_succeeded" or "value" not in told.fact:
            continue
        places = [(told.fact["step"], item) for first, last in told.fact["items"] for item in range(first, last + 1)]
        rows = [case.rows[place] for place in places if place in case.rows]
        whole = len(rows) == len(places) and all(row.status is StepStatus.SUCCEEDED for row in rows)
        if whole and not case.is_of(told.fact["value"], [row.output for row in rows]):
            yield f"step {told.fact['step']}: the results of a group of {len(rows)} items are not those of its history"


@invariant(8, "numbering", "The attempts of a step are numbered 1 to n without a gap, and each was closed exactly once.")
def attempts_are_numbered(case: Case) -> Iterator[str]:
    if case.story is None:
        return
    for place, row in case.rows.items():
        count = 0
        for closing in case.story.closings(place):
            count += 1
            if closing.attempt not in (None, count):
                yield f"step {named(place)}: attempt {closing.attempt} was closed where attempt {count} was to be"
                count = closing.attempt or count
        made = count + (row.status in UNDER_WAY)
        if row.attempt != made and row.status is not StepStatus.SKIPPED:
            yield f"step {named(place)}: its history closed {count} attempts, its row is at attempt {row.attempt}"


@invariant(9, "token", "What an attempt recorded carries its token, and no two attempts have one token, but for the items of one group.")
def tokens_tell_attempts_apart(case: Case) -> Iterator[str]:
    owners: dict[object, StepRow] = {}
    for row in case.found.steps:
        if row.token is None:
            node = case.plan.nodes.get(row.name) if case.plan is not None else None
            calls = node is not None and node.kind == "call"  # what it is worth was recorded by another run
            if row.status is StepStatus.SUCCEEDED and row.attempt and not calls and not case.by_hand(row):
                yield f"step {called(row)} succeeded, and its attempt's token is gone"
            continue
        other = owners.setdefault(row.token, row)
        if other is not row and (row.fan_out is None or row.fan_out != other.fan_out):
            yield f"steps {called(other)} and {called(row)} have one token"
    for effect in (case.ledgers.effects or {}).get(case.run.id, ()):
        found = case.rows.get((effect.step, effect.item))
        last = found is not None and found.attempt == effect.attempt and found.status is StepStatus.SUCCEEDED
        if found is not None and last and effect.phase == "ended" and effect.token not in (None, found.token) and not case.ledgers.crashes:
            yield f"step {called(found)}: its last attempt told the ledger another token than the row has"


@invariant(10, "one at a time", "No attempt of a step began before the one before it was closed.")
def attempts_do_not_overlap(case: Case) -> Iterator[str]:
    for place, before, after in _pairs(case):
        if after.started is not None and after.started < before.told.at - SLACK:
            yield f"step {named(place)}: an attempt began at {after.started.isoformat()}, the one before it was closed later"


@invariant(11, "budgets", "Failures and lost workers stay within their budgets, and no attempt began before its delay was over.")
def budgets_are_kept(case: Case) -> Iterator[str]:
    for row in case.found.steps:
        node = case.plan.nodes.get(row.name) if case.plan is not None else None
        if node is not None and node.retry is not None and not case.moves and row.failures > node.retry.count + 1:
            yield f"step {called(row)} failed {row.failures} times, and may be retried {node.retry.count} times"
        if row.lost > MAX_LOST:
            yield f"step {called(row)} lost {row.lost} workers, and may lose {MAX_LOST}"
    for place, before, after in _pairs(case):
        told = before.told
        if told.what not in ("step_retried", "step_lost") or after.started is None or "delay" not in told.fact:
            continue
        # The delay counts from the commit's own clock: later than the commit before it, and than the attempt's begin.
        began = max((moment for moment in (told.since, before.started) if moment is not None), default=None)
        if began is not None and after.started < began + timedelta(seconds=told.fact["delay"]) - SLACK:
            delay = f"{told.fact['delay']} s"
            yield f"step {named(place)}: an attempt began at {after.started.isoformat()}, before its delay of {delay} was over"


def _pairs(case: Case) -> Iterator[tuple[Place, Closing, Closing]]:
    """Attempts of one episode that followed each other."""
    if case.story is None:
        return
    for place in case.rows:
        before: Closing | None = None
        for closing in case.story.closings(place):
            if before is not None and not _reopened(case.story, place, before, closing):
                yield place, before, closing
            before = closing


def _reopened(story: Chronicle, place: Place, before: Closing, after: Closing) -> bool:
    between = range(before.told.version, after.told.version + 1)
    return any(told.what in ("step_reopened", "items_reopened") and told.version in between for told in story.of[place])


@invariant(
    12, "dead letters", "Every step that failed for good has one dead letter for each time, in the commit that failed it; no other has any."
)
def dead_letters_are_exact(case: Case) -> Iterator[str]:
    by_step: dict[object, list[Letter]] = {}
    for letter in case.found.letters:
        if letter.step is not None:
            by_step.setdefault(letter.step, []).append(letter)
    for row in case.found.steps:
        yield from _letters(case, row, sorted(by_step.pop(row.id, []), key=lambda letter: letter.episode))
    for letters in by_step.values():
        yield from (f"dead letter {letter.id} is of a step that has no row" for letter in letters)


def _letters(case: Case, row: StepRow, letters: list[Letter]) -> Iterator[str]:
    failed = row.status in _BAD
    for letter in letters:
        if letter.status != "retried" and not failed:
            yield f"dead letter {letter.id} is {letter.status}, and its step has not failed"
            return
    if case.story is None or (row.name, row.item) not in case.story.of:
        return
    buried = case.story.burials((row.name, row.item))
    # A fan-out that failed because an item did has no letter of its own for that.
    failed = failed and (row.items_left is None or (row.error or {}).get("code") == TOO_FEW)
    if len(letters) > buried or (len(letters) < buried and not case.ledgers.purged):
        hint = "" if len(letters) > buried else " (were they purged?)"
        yield f"step {called(row)} failed for good {buried} times, and has {len(letters)} dead letters{hint}"
    elif [letter.episode for letter in letters] != list(range(1, len(letters) + 1)) and not case.ledgers.purged:
        yield f"step {called(row)}: the episodes of its dead letters are {', '.join(str(letter.episode) for letter in letters)}"
    elif failed and len(letters) == buried and letters and letters[-1].status == "retried":
        yield f"step {called(row)} failed again, and its last dead letter is retried"
    elif failed and letters and row.item == NO_ITEM and (letters[-1].status == "open") is not (row.why == "unhandled"):
        stopped = "stopped" if row.why == "unhandled" else "did not stop"
        yield f"step {called(row)}: its dead letter is {letters[-1].status}, and its failure {stopped} the run"


@invariant(
    18,
    "timeouts",
    "A timeout fires at its deadline or later; with workers up, no attempt outlives its deadline by more than the bound.",
    "bound",
)
def timeouts_fire_in_time(case: Case) -> Iterator[str]:
    for row in case.found.steps:
        yield from _timeouts(case, row)
    if case.story is None or case.run.deadline is None:
        return
    for told in case.story.facts:
        if told.what == "run_ending" and told.fact.get("reason") == "deadline" and told.at < case.run.deadline - SLACK:
            yield f"the run's deadline fired at {told.at.isoformat()}, before it had come"


def _timeouts(case: Case, row: StepRow) -> Iterator[str]:
    node = case.plan.nodes.get(row.name) if case.plan is not None else None
    if case.story is not None and node is not None and node.timeout is not None and not case.moves:
        for closing in case.story.closings((row.name, row.item)):
            error = closing.told.fact.get("error") or {}
            fired = error.get("code") == "timeout" and error.get("message") == _SWEPT
            if fired and closing.started is not None and closing.told.at < closing.started + timedelta(seconds=node.timeout) - SLACK:
                yield f"step {called(row)}: its timeout fired before {node.timeout:g} s were over"
    deadline, bound = case.found.times[row.id].deadline_at, case.ledgers.bound
    late = bound is not None and deadline is not None and deadline < case.found.now - timedelta(seconds=bound)
    if late and deadline is not None and row.status is StepStatus.RUNNING:
        yield f"step {called(row)} runs on past its deadline of {deadline.isoformat()}"


_LEAKS = re.compile(
    r"Traceback \(most recent|\bFile \"[^\"]*\", line \d+|\[SQL: |\[parameters: |\b(?:insert into|update|delete from) wf_", re.IGNORECASE
)


@invariant(40, "clean errors", "No error that is kept quotes a trace, a statement or a payload.")
def errors_quote_nothing(case: Case) -> Iterator[str]:
    errors = [("run", case.run.error)]
    errors += [(f"step {called(row)}", row.error) for row in case.found.steps]
    errors += [(f"dead letter {letter.id}", letter.error) for letter in case.found.letters]
    if case.story is not None:
        errors += [(f"version {told.version}", told.fact.get("error")) for told in case.story.facts]
    for where, error in errors:
        text = " ".join(str(value) for value in error.values()) if isinstance(error, dict) else ""
        if _LEAKS.search(text):
            yield f"{where}: its error quotes a trace or a statement"
        if any(canary in text for canary in case.ledgers.canaries):
            yield f"{where}: its error quotes a payload"


@invariant(50, "untouched", "Between its claim and its end no step is written, unless a cancel's grace is over.")
def nobody_writes_what_is_claimed(case: Case) -> Iterator[str]:
    for row in case.found.steps:
        times = case.found.times[row.id]
        if row.status in UNDER_WAY and (times.ring_at is not None or row.why is not None):
            yield f"step {called(row)} is {row.status}, and its row was written since its claim"
    for place, told in (case.story.of if case.story is not None else {}).items():
        open_ = False
        for each in told:
            withdrawn = each.fact.get("why") == OPERATOR or each.fact.get("by") is not None  # by somebody, or by its milestone
            if open_ and (each.what == "step_blocked" or (each.what == "step_skipped" and not withdrawn)):
                yield f"step {named(place)}: {each.what} in version {each.version}, after it had begun"
            open_ = each.what in ("step_ready", "wait_opened", "fan_out_opened") or (open_ and each.what == "step_blocked")
