"""A definition as a picture: a Mermaid flowchart, for pages and for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from wfcelery.definition.document import Definition, Task
from wfcelery.definition.edges import SUCCEEDED, USUAL, Way, fork, ways_of

_LAST, _CALLS = ("([", "])"), ("[[", "]]")
_SHAPES = {"action": ("[", "]"), "end": _LAST, "fail": _LAST, "continue_as_new": _LAST, "workflow": _CALLS, "loop": _CALLS}
_WAITS = ("{{", "}}")  # what holds no worker
_LONGEST = 48


def mermaid(definition: Definition) -> str:
    """The graph of a definition, top down: solid lines for what is usual, dotted ones for all that an edge accepts beside success."""
    drawing = _Drawing(definition)
    return "\n".join(["flowchart TD", *drawing.tasks(definition.tasks, "  "), *drawing.edges()]) + "\n"


class _Drawing:
    def __init__(self, definition: Definition, prefix: str = "t") -> None:
        self.definition = definition
        self.numbers = {task.name: f"{prefix}{number}" for number, (task, _) in enumerate(definition.every_task())}
        self.blocks = {task.name: block.name if block else None for task, block in definition.every_task()}
        self.by_name = {task.name: task for task, _ in definition.every_task()}
        self.node_of = {fork(task.name): task.name for task, _ in definition.every_task() if task.is_block}

    def tasks(self, tasks: Iterable[Task], indent: str) -> Iterator[str]:
        for task in tasks:
            number = self.numbers[task.name]
            if task.is_block:
                yield f'{indent}subgraph {number}["{_escaped(task.name)}"]'
                yield from self.tasks(task.tasks, indent + "  ")
                yield f"{indent}end"
                continue
            if task.tasks:  # of runs of their own
                body = _Drawing(self.definition.model_copy(update={"tasks": task.tasks}), f"{number}_")
                yield f'{indent}subgraph {number}["{_caption(task)}"]'
                yield from body.tasks(task.tasks, indent + "  ")
                yield from body.edges(indent + "  ")
                yield f"{indent}end"
                continue
            opens, closes = _SHAPES.get(task.type, _WAITS)
            yield f'{indent}{number}{opens}"{_caption(task)}"{closes}'

    def edges(self, indent: str = "  ") -> Iterator[str]:
        for way in ways_of(self.definition):
            source, target = self.node_of.get(way.source, way.source), self.node_of.get(way.target, way.target)
            if self.blocks[source] == target or self.blocks[target] == source:
                continue  # between a block and what stands in it
            label = self._label(way)
            arrow = "-->" if way.after in (None, USUAL, SUCCEEDED) and way.transition <= SUCCEEDED else "-.->"
            said = f'|"{_escaped(label)}"|' if label else ""
            yield f"{indent}{self.numbers[source]} {arrow}{said} {self.numbers[target]}"

    def _label(self, way: Way) -> str:
        said = []
        if way.after is not None and way.after not in (USUAL, SUCCEEDED):
            said.append(" or ".join(sorted(way.after)))
        if way.transition and way.transition != SUCCEEDED:
            said.append(" or ".join(sorted(way.transition)))
        decision = self.by_name[way.source].decision if way.source in self.by_name else ()
        for number in sorted(way.branches):
            branch = decision[number]
            said.append(branch.label or ("default" if branch.default or branch.when is None else branch.when))
        return ", ".join(said)


def _caption(task: Task) -> str:
    kind = task.action if task.type == "action" else task.type
    lines = [task.name, *([kind] if kind else []), *(["for each item"] if task.with_items is not None else [])]
    if task.when is not None:
        lines.append(f"when {task.when}")
    return "<br/>".join(map(_escaped, lines))


def _escaped(text: str) -> str:
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    for mark, code in (("&", "&amp;"), ('"', "&quot;"), ("<", "&lt;"), (">", "&gt;"), ("#", "&num;"), ("\n", " ")):
        short = short.replace(mark, code)
    return short
