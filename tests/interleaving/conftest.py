"""How many orders were driven is said at the end of every check."""

from __future__ import annotations

from collections import Counter

import pytest

_told: dict[str, Counter[str]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        given = dict(report.user_properties)
        if "orders" in given:
            counts = _told.setdefault(str(given["database"]), Counter())
            counts["pairs"] += 1
            for name in ("orders", "driven", "waited"):
                counts[name] += int(str(given[name]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for database, counts in _told.items():
        terminalreporter.write_line(
            f"interleavings on {database}: {counts['pairs']} pairs in all {counts['orders']:,} orders, the sum of their C(a + b, a); "
            f"in {counts['waited']:,} one waited; {counts['driven']:,} executions"
        )
