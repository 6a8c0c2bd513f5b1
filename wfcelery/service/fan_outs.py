"""What people and steps ask of a fan-out: more items while it runs, an end with what it has, its failed items once more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any
from uuid import UUID

from wfcelery.authoring.context import running_step
from wfcelery.authoring.shape import stored_by_itself
from wfcelery.core.asking import Verb, refusal
from wfcelery.core.births import MOST_ITEMS
from wfcelery.definition.model import Definition
from wfcelery.definition.spans import shortly
from wfcelery.definition.values import dumps
from wfcelery.errors import CannotCarry, InvalidInput, NotAllowedNow, NotFound
from wfcelery.service import asking, runs
from wfcelery.service.asked import check_text
from wfcelery.service.context import Context, current
from wfcelery.service.handles import Run
from wfcelery.service.once import once
from wfcelery.store import reading
from wfcelery.store.definitions import load_body


def add_items(run: Run[Any] | str, step: str, items: Iterable[object], *, by: str | None = None) -> None:
    """Give a fan-out that runs more items; they follow those it has, and pass its filter first.

    What is added while one of its items is executed, as by that item's own code, always comes in time. Where the fan-out
    ends meanwhile all the same, the history of the run says `items_refused`. In a step each call adds once, however many
    attempts the step takes. Raises `NotFound`, `NotAllowedNow` where the fan-out has not begun or is over, and
    `InvalidInput` with all that is wrong with the items.
    """
    stored, caller = _stored(current(), items), running_step()
    if caller is None:
        _ask("add_items", run, step, by, {"items": stored})
    else:
        once(f"add_items:{caller.next_start_key()}", _ask, "add_items", run, step, by, {"items": stored})


def complete_items(run: Run[Any] | str, step: str, *, by: str | None = None) -> None:
    """End a fan-out with what it has: items that have not begun are skipped, running ones are fenced, and the run goes on.

    Raises `NotFound`, and `NotAllowedNow` where the fan-out has not begun or is over.
    """
    _ask("complete_items", run, step, by, {})


def rerun_failed(run: Run[Any] | str, step: str, *, by: str | None = None) -> None:
    """Run the failed items of a fan-out again, with new budgets, and no other item; a run that failed by them goes on.

    Raises `NotFound`, and `NotAllowedNow` where no item has failed, or the run has gone on with the failures.
    """
    _ask("rerun_failed", run, step, by, {})


def _ask(verb: Verb, run: Run[Any] | str, step: str, by: str | None, more: Mapping[str, Any]) -> None:
    """A row in the run's inbox, after a look whether it can mean anything: the run decides under its own lock."""
    context = current()
    check_text(verb, "step", step)
    if by is not None:
        check_text(verb, "by", by)
    found = runs.find(context, run.id if isinstance(run, Run) else run)
    if found is None:
        raise NotFound("run", run.id if isinstance(run, Run) else run)
    with context.transaction() as tx:
        task = reading.task(tx, found.id, step)
        body = load_body(tx, found.definition) if task is None else None
    if body is not None:
        _must_be_named(step, body)
    why = refusal(verb, found, task)
    if why is not None:
        raise NotAllowedNow(f"{verb}: step {step} of run {found.id}: {why}", found.status)
    asking.tell(context, UUID(str(found.id)), verb, {"task": step, "by": by, **more}, {})


def _must_be_named(step: str, body: str) -> None:
    """Raises NotFound where the run's definition knows no such task."""
    names = [task.name for task, _ in Definition.model_validate_json(body).every_task()]
    if step not in names:
        raise NotFound("step", step, get_close_matches(step, names, 1))


def _stored(context: Context, items: Iterable[object]) -> list[Any]:
    """The items in stored form. Raises `InvalidInput` with everything that is wrong with them."""
    if isinstance(items, str | bytes | Mapping):
        raise InvalidInput("add_items", [("items", f"they are a list, not {shortly(items)}")])
    stored, wrong = [], []
    for number, item in enumerate(items):
        if number == MOST_ITEMS:
            raise InvalidInput("add_items", [("items", f"they are more than {MOST_ITEMS}")])
        try:
            stored.append(stored_by_itself(item))
        except CannotCarry as problem:
            dot = "." if problem.path and not problem.path.startswith("[") else ""
            wrong.append((f"items[{number}]{dot}{problem.path}", problem.why))
    size = len(dumps(stored))
    if not wrong and size > context.settings.input_limit:
        wrong.append(("items", f"they have {size} bytes, more than {context.settings.input_limit}"))
    if wrong:
        raise InvalidInput("add_items", wrong)
    return stored
