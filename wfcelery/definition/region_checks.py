"""What is wrong with regions, with what closes them, and with milestones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from difflib import get_close_matches

from wfcelery.definition.document import Definition, Task
from wfcelery.definition.findings import Findings, Path, did_you_mean
from wfcelery.definition.regions import members

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST = 255
Before = Callable[[str, str], bool]  # whether the first of two tasks has surely ended when the second begins


def check_regions(definition: Definition, findings: Findings, before: Before) -> None:
    """All of it. `before` is asked of tasks that exist."""
    regions = members(definition)
    cancelled = {name for task in findings.tasks.values() for name in task.cancels}
    told: set[str] = set()
    for task in findings.tasks.values():
        for number, name in enumerate(task.region):
            path: Path = ("region", number) if len(task.region) > 1 else ("region",)
            fault = _fault_of_region(name, findings)
            if fault is not None:
                findings.of_task(task, path, fault)
            elif name not in cancelled and name not in told and not findings.left_out:
                findings.of_task(task, path, f"no task cancels the region {name}", "warning")
            told.add(name)
        for path, name in _each(task, "cancels"):
            _check_cancelled(task, path, name, regions, findings, before)
        for path, name in _each(task, "unless_reached"):
            _check_milestone(task, path, name, findings, before)


def _each(task: Task, key: str) -> Iterator[tuple[Path, str]]:
    names = getattr(task, key)
    for name in names:
        yield (key,), name


def _fault_of_region(name: str, findings: Findings) -> str | None:
    if not _IDENTIFIER.fullmatch(name) or len(name) > _LONGEST:
        return f"{name[:60]!r} is no name for a region: at most {_LONGEST} letters, digits and underscores"
    return f"a task is called {name}: `cancels` could not tell the two" if name in findings.tasks else None


def _check_cancelled(task: Task, path: Path, name: str, regions: dict[str, list[str]], findings: Findings, before: Before) -> None:
    if name not in findings.tasks and name not in regions:
        if name not in findings.left_out:
            near = get_close_matches(name, [*regions, *findings.tasks], 1)
            findings.of_task(task, path, f"there is no region and no task {name!r}{did_you_mean(near)}")
        return
    found = regions.get(name, [name])
    if task.name in found:
        where = "" if name == task.name else f": it stands in the region {name}"
        findings.of_task(task, path, f"a task cannot cancel itself{where}")
        return
    for each in found:
        if before(task.name, each):
            findings.of_task(task, path, f"it cancels {each}, which begins only after it and so never would")
    if name in findings.tasks and before(name, task.name):
        findings.of_task(task, path, f"it cancels {name}, which has ended by then")


def _check_milestone(task: Task, path: Path, name: str, findings: Findings, before: Before) -> None:
    if name not in findings.tasks:
        findings.unknown_task(task, path, name)
    elif name == task.name:
        findings.of_task(task, path, "a task cannot wait for itself")
    elif before(task.name, name):
        findings.of_task(task, path, f"{name} comes after it, so that it is never too late: leave it out")
    elif before(name, task.name):
        findings.of_task(task, path, f"it begins after {name}, and so never would")
