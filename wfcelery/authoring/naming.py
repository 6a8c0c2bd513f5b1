"""What the options of a call name: the ends of other tasks, milestones, and what it cancels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wfcelery.authoring.formulas import TracedTask
from wfcelery.authoring.references import Reference, authors_line
from wfcelery.errors import AuthoringError

REACHED = frozenset({"succeeded"})


def refusal(text: str) -> AuthoringError:
    """The sentence, with the author's line."""
    return AuthoringError(text, where=authors_line())


@dataclass(frozen=True, slots=True, eq=False)
class End:
    """One way a step can end, made by failed(x) and the like. It belongs in after=, never in when()."""

    task: TracedTask
    ends: frozenset[str]

    def __bool__(self) -> bool:
        raise refusal("an end such as failed(x) is no condition: write `with after(failed(x)):`")


def whole_task(reference: object, where: str) -> TracedTask:
    """The task whose value this is, not a part of it and nothing made of it."""
    if not isinstance(reference, Reference):
        raise refusal(f"{where} takes what a step returned, not {reference!r}")
    task: TracedTask | None = reference._wf.task
    if task is None:
        raise refusal(f"{where} takes what a step returned; {reference._wf.source} is an expression")
    return task


def ends_of(after: object, trace: object) -> list[tuple[TracedTask, frozenset[str]]]:
    """What stands in after=: a reference, an End, or a list of them."""
    if after is None:
        return []
    if isinstance(after, (list, tuple)):
        return [end for each in after for end in ends_of(each, trace)]
    if isinstance(after, End):
        found, ends = after.task, after.ends
    elif isinstance(after, Reference):
        found = whole_task(after, "after=")
        ends = found.usual_ends
    else:
        raise refusal(f"after= takes what a step returned, failed(x) and the like, or a list of them, not {after!r}")
    if found.trace is not trace:
        raise refusal(f"{found.name} comes from the trace of another workflow")
    return [(found, ends)]


def points_of(key: str, options: Mapping[str, Any], trace: object) -> list[TracedTask]:
    """The milestones that an option names: what steps returned."""
    found = [whole_task(each, f"{key}=") for each in _listed(options.get(key))]
    _check_own(found, trace)
    return found


def closing_of(options: Mapping[str, Any], regions: Iterable[str], trace: object) -> dict[str, list[str]]:
    """What a definition says of the regions that a call stands in, of what it cancels, and of what it must not come after."""
    late = [point.name for point in points_of("unless_reached", options, trace)]
    said = {"region": regions, "cancels": _cancelled(options, trace), "unless_reached": late}
    return {key: sorted(set(names)) for key, names in said.items() if names}


def _cancelled(options: Mapping[str, Any], trace: object) -> list[str]:
    names = []
    for each in _listed(options.get("cancels")):
        named = None if isinstance(each, Reference) else getattr(each, "wf_named", None)
        if named is None:
            task = whole_task(each, "cancels=")
            _check_own([task], trace)
            names.append(task.name)
        elif (name := named(trace)) is not None:
            names.append(name)
        else:
            raise refusal(f"the region {each.name} comes from the trace of another workflow")
    return names


def _check_own(tasks: Iterable[TracedTask], trace: object) -> None:
    for task in tasks:
        if task.trace is not trace:
            raise refusal(f"{task.name} comes from the trace of another workflow")


def _listed(given: Any) -> Sequence[Any]:
    return () if given is None else given if isinstance(given, (list, tuple)) else (given,)
