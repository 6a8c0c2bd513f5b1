"""YAML in: the safe part of it, read with limits, every line remembered.

Only the parser's events are used: depth, nodes and lengths are counted before anything is built.
Aliases, tags and merge keys are refused; plain scalars mean what they would in JSON, so that `no`,
`012` and `1:30` stay texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml  # type: ignore[import-untyped, unused-ignore]

from wfcelery.definition.document import Definition
from wfcelery.definition.findings import Path, Problem, written
from wfcelery.definition.problems import read
from wfcelery.errors import DefinitionProblems

MOST_BYTES = 256 * 1024
MOST_NODES = 20_000
DEEPEST = 32
LONGEST_SCALAR = 64 * 1024
LONGEST_NUMBER = 100

_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?P<fraction>\.\d+)?(?P<exponent>[eE][+-]?\d+)?")
_WORDS = {"null": None, "": None, "true": True, "false": False}
_NOTHING: Any = object()  # what was refused, and is told already
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_yaml(text: str, filename: str = "") -> Definition:
    """The definition in a YAML text; raises `DefinitionProblems` with everything wrong with it, each with its line."""
    definition, problems = read_yaml(text, filename)
    errors = [problem for problem in problems if problem.severity == "error"]
    if definition is None or errors:
        raise DefinitionProblems(filename or "the definition", errors)
    return definition


def read_yaml(text: str, filename: str = "") -> tuple[Definition | None, list[Problem]]:
    """The definition, None where it cannot be had, and all problems, warnings too."""
    reader = _Reader(filename or None)
    document = reader.read(text)
    if document is None and not reader.problems:
        reader.tell_whole("there is nothing in it")
    if reader.broken:
        return None, reader.problems
    definition, problems = read(document, reader.lines, filename or None)
    problems = sorted([*reader.problems, *problems], key=lambda problem: problem.line or 0)
    return (None if reader.problems else definition), problems


def load_yaml_file(path: FilePath) -> Definition:
    """The definition in a file."""
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)  # what is larger is refused, and need not be read
    try:
        return load_yaml(content.decode("utf-8", "strict" if len(content) <= MOST_BYTES else "replace"), str(path))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DefinitionProblems(str(path), [Problem("", line, "this is no UTF-8: save the file as UTF-8", file=str(path))]) from error


class _TooMuch(Exception):  # noqa: N818 - it ends the reading, and is told as a problem
    """The text is over a limit."""


@dataclass(slots=True)
class _Reader:
    """One text. What is wrong with it is noted, and the reading goes on where it can."""

    file: str | None
    problems: list[Problem] = field(default_factory=list)
    lines: dict[Path, int] = field(default_factory=dict)
    broken: bool = False
    nodes: int = 0

    def read(self, text: str) -> Any:
        if len(text) > MOST_BYTES or len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
            return self._break(None, f"the file is larger than {MOST_BYTES // 1024} KiB; a graph made by a machine comes as JSON")
        try:
            return self._document(yaml.parse(text, Loader=_LOADER))
        except _TooMuch:
            return None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            return self._break(None if mark is None else mark.line + 1, f"this is no YAML: {error.problem or error.context}")
        except yaml.YAMLError as error:
            return self._break(None, f"this is no YAML: {str(error).splitlines()[0]}")

    def tell_whole(self, text: str) -> None:
        """One more problem, of the whole text."""
        self._break(None, text)

    def _break(self, line: int | None, text: str) -> None:
        self.problems.append(Problem("", line, text, file=self.file))
        self.broken = True

    def _tell(self, path: Path, line: int, text: str) -> None:
        self.problems.append(Problem(written(path), line, text, file=self.file))

    def _document(self, events: Iterator[Any]) -> Any:
        document: Any = None
        seen = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                seen += 1
                if seen > 1:
                    self._break(event.start_mark.line + 1, "one file holds one definition")
                    return document
            elif isinstance(event, yaml.NodeEvent):
                document = self._node(event, events, (), 0)
        return document

    def _node(self, event: Any, events: Iterator[Any], path: Path, depth: int) -> Any:
        line = event.start_mark.line + 1
        self.nodes += 1
        if self.nodes > MOST_NODES:
            raise self._too_much(line, f"there are more than {MOST_NODES} values; a graph made by a machine comes as JSON")
        if depth > DEEPEST:
            raise self._too_much(line, f"it is nested more than {DEEPEST} levels deep")
        self.lines.setdefault(path, line)
        if isinstance(event, yaml.AliasEvent):
            self._tell(path, line, f"aliases are not read: write out what *{event.anchor} stands for")
            return _NOTHING
        if event.anchor is not None:
            self._tell(path, line, f"anchors are not read: take away &{event.anchor}")
        if event.tag is not None and event.tag != "!":
            self._tell(path, line, f"tags are not read: take away {event.tag}")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, path, line)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, path, depth)
        return self._mapping(events, path, depth)

    def _too_much(self, line: int, text: str) -> _TooMuch:
        self._break(line, text)
        return _TooMuch(text)

    def _sequence(self, events: Iterator[Any], path: Path, depth: int) -> list[Any]:
        items: list[Any] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            place = (*path, len(items))
            self.lines[place] = event.start_mark.line + 1
            item = self._node(event, events, place, depth + 1)
            if item is not _NOTHING:
                items.append(item)
        return items

    def _mapping(self, events: Iterator[Any], path: Path, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            line = event.start_mark.line + 1
            key = self._key(event, events, path, depth, found)
            place = (*path, key if key is not None else "?")
            if key is not None and key not in found:
                self.lines[place] = line
            value = self._node(next(events), events, place, depth + 1)
            if key is not None and value is not _NOTHING:
                found.setdefault(key, value)
        return found

    def _key(self, event: Any, events: Iterator[Any], path: Path, depth: int, found: dict[str, Any]) -> str | None:
        line = event.start_mark.line + 1
        key = self._node(event, events, (*path, "?"), depth + 1)
        if key == "<<" and event.implicit[0]:
            self._tell(path, line, "merge keys are not read: write out what is merged")
            return None
        if not isinstance(key, str):
            self._tell(path, line, f"a key is a text, not {_json_name(key)}: put it in quotes")
            return None
        if key in found:
            self._tell((*path, key), line, "this key stands here twice")
            return None
        return key

    def _scalar(self, event: Any, path: Path, line: int) -> Any:
        text: str = event.value
        if len(text) > LONGEST_SCALAR:
            raise self._too_much(line, f"a text has more than {LONGEST_SCALAR // 1024} KiB")
        if not event.implicit[0] or event.style in ("'", '"', "|", ">"):
            return text
        if text in _WORDS:
            return _WORDS[text]
        number = _NUMBER.fullmatch(text)
        if number is None:
            return text
        if len(text) > LONGEST_NUMBER:
            self._tell(path, line, f"a number has at most {LONGEST_NUMBER} characters")
            return 0
        if number["fraction"] is None and number["exponent"] is None:
            return int(text)
        value = float(text)
        if value in (float("inf"), float("-inf")):
            self._tell(path, line, f"{text} is too large for a number")
            return 0
        return value


def _json_name(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else f"a {type(value).__name__}" if isinstance(value, (dict, list)) else str(value)
