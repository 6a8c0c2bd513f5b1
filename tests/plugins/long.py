"""Tests that take minutes run alone, with `--long`, and leave a page that says when they last passed."""

from __future__ import annotations

import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

PAGE = Path("docs", "reference", "check-long.md")
_began = pytest.StashKey[float]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help=f"run the tests marked `long`, and only those; write {PAGE}")
    parser.addoption("--also-long", action="store_true", help="run the tests marked `long` and the others; write no page")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--also-long"):
        return
    wanted = bool(config.getoption("--long"))
    others = [item for item in items if (item.get_closest_marker("long") is not None) != wanted]
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.stash[_began] = time.monotonic()


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    if not config.getoption("--long") or config.getoption("--collect-only"):
        return
    stats = terminalreporter.stats
    counts = {word: len(stats.get(word, ())) for word in ("passed", "failed", "error", "skipped")}
    verdict = "passed" if exitstatus == pytest.ExitCode.OK else "failed"
    seconds = time.monotonic() - config.stash[_began]
    page = config.rootpath / PAGE
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(_page(verdict, counts, seconds, _commit(config.rootpath), [_line(report) for report in stats.get("passed", ())]))


def _line(report: pytest.TestReport) -> str:
    """A test that passed, and what it recorded about itself under the name `told`."""
    told = "".join(f": {value}" for name, value in report.user_properties if name == "told")
    return f"- `{report.nodeid}`{told}"


def _page(verdict: str, counts: dict[str, int], seconds: float, commit: str, shown: list[str]) -> str:
    lines = [
        "# The long check",
        "",
        "Written by `make check-long`: the tests that take too long for every change.",
        "",
        f"- result: **{verdict}** ({', '.join(f'{count} {word}' for word, count in counts.items() if count) or 'nothing ran'})",
        f"- commit: `{commit}`",
        f"- date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"- took: {seconds:.0f} s",
        "",
        *sorted(shown),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _commit(root: Path) -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "wfcelery", "tests", "tasks", "pyproject.toml")
    return (git("rev-parse", "HEAD") or "unknown") + (" with uncommitted changes" if changed else "")
