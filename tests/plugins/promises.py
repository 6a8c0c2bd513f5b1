"""Which test shows which promise.

`@pytest.mark.promise("A5")` names rows of `docs/reference/promises.toml`, at most three a test.
`python -m tests.plugins.promises --write` makes `docs/reference/promises.md` of the two; without `--write` it
says whether the page is up to date. In a whole run (`--whole`), a row whose tests were all skipped fails the run.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROWS = ROOT / "docs" / "reference" / "promises.toml"
PAGE = ROOT / "docs" / "reference" / "promises.md"
MOST = 3
CHAPTERS = {
    "A": "Queue, claim and worker",
    "B": "One engine, and what operators see",
    "C": "Timers, cancel and the sweep",
    "D": "Facts, steps and idempotency",
    "E": "Graphs, data and failures",
}


@dataclass
class Promises:
    """Every row's sentence, and the rows that no test has to show yet."""

    sentences: dict[str, str]
    open: frozenset[str] = field(default_factory=frozenset)


def read_promises(path: Path = ROWS) -> Promises:
    with path.open("rb") as file:
        read = tomllib.load(file)
    return Promises(sentences=read["promises"], open=frozenset(read["open"]))


def shown_by_row(root: Path = ROOT) -> dict[str, list[str]]:
    """The tests below `tests/` that name each row, read from their source; the long ones too."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((root / "tests").rglob("test_*.py")):
        for name, rows in _marks(ast.parse(path.read_text())):
            for row in rows:
                found[row].append(f"{path.relative_to(root)}::{name}")
    return dict(found)


def problems(rows: tuple[object, ...], known: dict[str, str]) -> str | None:
    """What is wrong with one mark, as a sentence."""
    if not 1 <= len(rows) <= MOST:
        return f"a test shows one to {MOST} rows, this one names {len(rows)}: split it"
    unknown = [row for row in rows if row not in known]
    return f"docs/reference/promises.toml has no row {', '.join(map(repr, unknown))}" if unknown else None


def render(promises: Promises, tests: dict[str, list[str]]) -> str:
    """The page."""
    lines = ["# What wfcelery promises, and the tests that show it", ""]
    lines += ["Written by `make docs` from the marks in the tests. A promise that no test shows is said to be open.", ""]
    for letter, title in CHAPTERS.items():
        lines += [f"## {letter}. {title}", "", "| row | promise | shown by |", "|---|---|---|"]
        for row in sorted((row for row in promises.sentences if row[0] == letter), key=lambda row: int(row[1:])):
            shown = "<br>".join(f"[{test.split('::')[-1]}](../../{test.split('::')[0]})" for test in tests.get(row, ()))
            lines.append(f"| {row} | {promises.sentences[row]} | {shown or 'open'} |")
        lines.append("")
    return "\n".join(lines)


def _marks(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """(test, rows) for every test function, marks of its class and module included."""
    marks = [node.value for node in tree.body if isinstance(node, ast.Assign) and _names_pytestmark(node)]
    of_module = [row for mark in marks for row in _rows(ast.walk(mark))]
    for node in tree.body:
        inherited = list(of_module)
        functions: list[ast.stmt] = [node]
        if isinstance(node, ast.ClassDef):
            inherited += [row for mark in node.decorator_list for row in _rows(ast.walk(mark))]
            functions = node.body
        for function in functions:
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.name.startswith("test"):
                rows = inherited + [row for mark in function.decorator_list for row in _rows(ast.walk(mark))]
                if rows:
                    yield function.name, list(dict.fromkeys(rows))


def _names_pytestmark(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets)


def _rows(nodes: Iterator[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "promise":
            yield from (argument.value for argument in node.args if isinstance(argument, ast.Constant) and isinstance(argument.value, str))


# ---- pytest --------------------------------------------------------------------------------------------------------

_rows_of = pytest.StashKey[dict[str, tuple[str, ...]]]()
_shown = pytest.StashKey[set[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_rows_of] = {}
    config.stash[_shown] = set()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    known = read_promises().sentences
    wrong = []
    for item in items:
        rows = tuple(row for mark in item.iter_markers("promise") for row in mark.args)
        if any(True for _ in item.iter_markers("promise")):
            problem = problems(rows, known)
            wrong += [f"{item.nodeid}: {problem}"] if problem else []
            config.stash[_rows_of][item.nodeid] = rows
    if wrong:
        raise pytest.UsageError("\n".join(wrong))


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.pluginmanager.register(_Show(session.config))


class _Show:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            rows = self._config.stash[_rows_of]
            self._config.stash[_shown].update(rows.get(report.nodeid, ()))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus == pytest.ExitCode.OK and session.config.getoption("--whole") and _not_shown(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not config.getoption("--whole"):
        return
    promises = read_promises()
    owed = len(promises.sentences) - len(promises.open)
    terminalreporter.write_line(f"promises shown: {len(config.stash[_shown])} of {len(promises.sentences)}, {owed} owed")
    for row in _not_shown(config):
        terminalreporter.write_line(f"FAILED: no test that ran and passed shows {row}: {promises.sentences[row]}", red=True)


def _not_shown(config: pytest.Config) -> list[str]:
    promises, shown = read_promises(), config.stash[_shown]
    return sorted(set(promises.sentences) - promises.open - shown)


def main(arguments: list[str]) -> int:
    """Write the page, or say whether it is up to date."""
    page = render(read_promises(), shown_by_row())
    if "--write" in arguments:
        PAGE.write_text(page)
        return 0
    if PAGE.read_text() == page:
        return 0
    sys.stderr.write("docs/reference/promises.md is not what the tests say: run `make docs`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
