"""A problem, and the list in which checks gather them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from wfcelery.definition.document import Definition, Task

Path = tuple[str | int, ...]
Lines = Mapping[Path, int]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, where, and what to do about it."""

    path: str
    line: int | None
    text: str
    severity: Literal["error", "warning"] = "error"
    file: str | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        path, text = (part if len(part) <= 300 else part[:299] + "…" for part in (self.path, self.text))
        said = f"{path}: {text}" if path else text
        said = f"warning: {said}" if self.severity == "warning" else said
        return f"{place}: {said}" if self.file is not None else f"line {self.line}: {said}" if self.line is not None else said


class Findings:
    """The problems of one definition. Tasks are told by their names, lines by where they are written."""

    def __init__(self, definition: Definition, lines: Lines, file: str | None, left_out: frozenset[str] = frozenset()) -> None:
        self.lines = lines
        self.file = file
        self.problems: list[Problem] = []
        self.tasks: dict[str, Task] = {}
        self.left_out = left_out  # tasks that are not there because something else is wrong with them
        self.misnamed: set[str] = set()  # tasks one of whose edges names nothing: what follows from it is not told
        self.places: dict[int, Path] = dict(_places(definition.tasks, ("tasks",)))
        for task, _ in definition.every_task():
            self.tasks.setdefault(task.name, task)

    def add(self, path: Path, text: str, severity: Literal["error", "warning"] = "error", shown: str | None = None) -> None:
        """One more problem."""
        self.problems.append(Problem(written(path) if shown is None else shown, line_of(self.lines, path), text, severity, self.file))

    def of_task(self, task: Task, path: Path, text: str, severity: Literal["error", "warning"] = "error") -> None:
        """One more problem of a task; `path` leads on from it."""
        place = self.places[id(task)]
        self.add((*place, *path), text, severity, written(("tasks", task.name, *path)))

    def unknown_task(self, task: Task, path: Path, name: str) -> None:
        """A name that no task has."""
        self.misnamed.add(task.name)
        if name in self.left_out:
            return
        near = get_close_matches(name, self.tasks, 1)
        self.misnamed.update(near)
        self.of_task(task, path, f"there is no task {name!r}" + did_you_mean(near))


def _places(tasks: Iterable[Task], path: Path) -> Iterator[tuple[int, Path]]:
    for number, task in enumerate(tasks):
        yield id(task), (*path, number)
        yield from _places(task.inside, (*path, number, "tasks"))


def line_of(lines: Lines, path: Path) -> int | None:
    """The line of a path, or of the nearest part of the document around it."""
    for length in range(len(path), -1, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


def written(path: Path) -> str:
    """A path as people read it."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def did_you_mean(near: Iterable[str]) -> str:
    """The end of a sentence about a name that is not known."""
    names = list(near)
    return f"; did you mean {' or '.join(names)}?" if names else ""
