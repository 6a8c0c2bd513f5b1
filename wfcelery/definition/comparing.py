"""What differs between two definitions, in the words of their authors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from wfcelery.definition.document import TRANSITIONS, Definition
from wfcelery.definition.edges import USUAL, Way, ways_of

_BY_EDGES = frozenset({"after", "needs", "tasks", *TRANSITIONS})
_OF_PEOPLE = frozenset({"name", "version", "schedules", "tasks", "parameters", "vars"})
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is in only one of two definitions, or is not the same in both. `was` and `is_` are JSON texts."""

    what: Literal["added", "removed", "changed"]
    part: Literal["workflow", "parameter", "variable", "task", "edge"]
    name: str
    was: str | None = None
    is_: str | None = None


def differences(old: Definition, new: Definition) -> list[Difference]:
    """Everything that differs: the workflow's own words, its parameters and variables, its tasks, the edges between them."""
    found = [*_changed("workflow", _whole(old), _whole(new))]
    found += _compared("parameter", {k: _dump(v) for k, v in old.parameters.items()}, {k: _dump(v) for k, v in new.parameters.items()})
    found += _compared("variable", old.vars, new.vars)
    found += _tasks(old, new)
    found += _compared("edge", _edges(old), _edges(new))
    return found


def _whole(definition: Definition) -> Mapping[str, Any]:
    return {key: value for key, value in _dump(definition).items() if key not in _OF_PEOPLE}


def _tasks(old: Definition, new: Definition) -> Iterator[Difference]:
    before, after = _said(old), _said(new)
    for name in sorted(before.keys() - after.keys()):
        yield Difference("removed", "task", name, was=_text(before[name]))
    for name, said in after.items():
        if name not in before:
            yield Difference("added", "task", name, is_=_text(said))
        elif before[name] != said:
            yield from _changed("task", before[name], said, f"{name}.")


def _said(definition: Definition) -> dict[str, dict[str, Any]]:
    """Each task without its edges; the block it stands in is one of its words."""
    found = {}
    for task, block in definition.every_task():
        said = {key: value for key, value in _dump(task).items() if key not in _BY_EDGES and key != "name"}
        found[task.name] = said if block is None else {**said, "block": block.name}
    return found


def _edges(definition: Definition) -> dict[str, Any]:
    return {f"{way.source} -> {way.target}": _meaning(way) for way in ways_of(definition)}


def _meaning(way: Way) -> dict[str, Any]:
    said = {
        "after": None if way.after in (None, USUAL) else sorted(way.after or ()),
        "needs": way.needs is not None or None,
        "on": sorted(way.transition) or None,
        "branches": sorted(way.branches) or None,
    }
    return {key: value for key, value in said.items() if value is not None}


def _compared(part: Literal["parameter", "variable", "edge"], before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    for name in sorted(before.keys() | after.keys()):
        was, is_ = before.get(name), after.get(name)
        if name not in after:
            yield Difference("removed", part, name, was=_text(was))
        elif name not in before:
            yield Difference("added", part, name, is_=_text(is_))
        elif was != is_:
            yield Difference("changed", part, name, _text(was), _text(is_))


def _changed(
    part: Literal["workflow", "task"], before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = ""
) -> Iterator[Difference]:
    for key in sorted(before.keys() | after.keys()):
        was, is_ = before.get(key), after.get(key)
        if was != is_:
            yield Difference("changed", part, prefix + key, _text(was), _text(is_))


def _dump(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = model.model_dump(mode="json", exclude_defaults=True)
    return found


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
