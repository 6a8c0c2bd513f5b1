"""What `definitions publish` and a starting worker do: definitions stored, and the schedules that stand beside them put in place."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wfcelery.definition.bodies import called_by
from wfcelery.definition.document import Definition, ScheduleSpec
from wfcelery.definition.findings import Problem
from wfcelery.definition.values import decode
from wfcelery.errors import DefinitionProblems, Misconfigured
from wfcelery.service import definitions, schedules, standing
from wfcelery.service.context import Context
from wfcelery.service.definitions import Published

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """What publishing one definition came to, and which of its schedules were put in place."""

    definition: Published
    schedules: Sequence[str]


def publish(context: Context, paths: Iterable[Path], *, draft: bool = False, by: str | None = None) -> list[PublishedFile]:
    """Store every definition of these files and put their schedules in place, or nothing: all their problems are told first.

    A schedule that the file says the same of as last time stays as it is, whatever was changed since. One that is no longer in
    a file stays, too. May be repeated, also where the process died in between. With `draft` nothing starts by them, and no
    schedule is put in place; the same file without it publishes the draft.
    """
    found = definitions.read_files(paths)
    _refuse_twins(found)
    _check_calls(context, found)
    published = [standing.publish(context, definition, draft=draft, by=by) for definition in found]
    return [PublishedFile(each, [] if draft else _put(context, definition)) for each, definition in zip(published, found, strict=True)]


def publish_folder(context: Context, folder: str) -> list[PublishedFile]:
    """What a starting worker does with the folder that its settings name."""
    path = Path(folder)
    if not path.is_dir():
        raise Misconfigured(f"the folder of definitions, {folder}, is not there")
    return publish(context, [path])


def _refuse_twins(found: Sequence[Definition]) -> None:
    names = Counter(spec.name for definition in found for spec in definition.schedules)
    twins = [name for name, many in names.items() if many > 1]
    if twins:
        raise DefinitionProblems("the schedules", [Problem("schedules", None, f"two files have a schedule {name!r}") for name in twins])


def _check_calls(context: Context, found: Sequence[Definition]) -> None:
    """Raise DefinitionProblems for calls in a circle; whom nobody knows yet may be published later, and is told in the log."""
    together = {definition.name: definition for definition in found}

    def find(name: str) -> Definition | None:
        return together[name] if name in together else definitions.find(context, name)

    for definition in found:
        definitions.refuse_endless(definition, find)
        definitions.store_called(context, definition)
        unknown = [name for name in called_by(definition) if find(name) is None]
        if unknown:
            log.warning("workflow %s calls %s, which nobody has published so far", definition.name, ", ".join(unknown))


def _put(context: Context, definition: Definition) -> list[str]:
    return [spec.name for spec in definition.schedules if _put_one(context, definition.name, spec)]


def _put_one(context: Context, workflow: str, spec: ScheduleSpec) -> bool:
    options = spec.model_dump(exclude_none=True, exclude_defaults=True, exclude={"name", "input"})
    return schedules.publish(context, spec.name, workflow, decode(spec.input), options)
