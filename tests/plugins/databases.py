"""One suite for the store, the same on every database: how many of its tests passed on each, and a failure if they differ."""

from __future__ import annotations

from collections import Counter

import pytest

DATABASES = ("sqlite", "postgresql")
_passed = pytest.StashKey[Counter[str]]()
_where = pytest.StashKey[dict[str, str]]()
_of_the_store = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--whole", action="store_true", help="the whole suite runs, so its counting rules apply")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_passed] = Counter()
    config.stash[_where] = {}
    config.stash[_of_the_store] = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    store = config.rootpath / "tests" / "store"
    for item in items:
        if store not in item.path.parents:
            continue
        config.stash[_of_the_store] = True
        callspec = getattr(item, "callspec", None)
        database = next((value for value in callspec.params.values() if value in DATABASES), None) if callspec else None
        if database is not None:
            config.stash[_where][item.nodeid] = database


class _Count:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        where = self._config.stash[_where]
        if report.when == "call" and report.passed and report.nodeid in where:
            self._config.stash[_passed][where[report.nodeid]] += 1


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.pluginmanager.register(_Count(session.config))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus == pytest.ExitCode.OK and session.config.getoption("--whole") and not _equal(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    passed, collected = config.stash[_passed], config.stash[_where]
    if passed or collected or config.getoption("--whole"):
        terminalreporter.write_line("store tests passed: " + ", ".join(f"{database} {passed[database]}" for database in DATABASES))
        if config.getoption("--whole") and not _equal(config):
            terminalreporter.write_line("FAILED: the store keeps its promises on one database and not on the other", red=True)


def _equal(config: pytest.Config) -> bool:
    passed = config.stash[_passed]
    numbers = {passed[database] for database in DATABASES}
    return len(numbers) == 1 and (numbers != {0} or not config.stash[_of_the_store])
