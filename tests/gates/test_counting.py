"""The rules that count over a whole run count rightly."""

from __future__ import annotations

import pytest

PLUGINS = ("-p", "tests.plugins.databases", "-p", "no:cacheprovider")


def _a_store_with(pytester: pytest.Pytester, body: str) -> None:
    folder = pytester.mkdir("tests") / "store"
    folder.mkdir()
    (folder / "test_store.py").write_text(f"import pytest\n@pytest.mark.parametrize('database', ['sqlite', 'postgresql'])\n{body}\n")


def test_a_store_that_passes_as_many_tests_on_both_databases_is_well(pytester: pytest.Pytester) -> None:
    _a_store_with(pytester, "def test_it(database): pass")
    result = pytester.runpytest_inprocess("--whole", *PLUGINS)
    result.stdout.fnmatch_lines(["store tests passed: sqlite 1, postgresql 1"])
    assert result.ret == pytest.ExitCode.OK


def test_a_test_skipped_on_one_database_fails_the_run(pytester: pytest.Pytester) -> None:
    _a_store_with(pytester, "def test_it(database):\n    if database == 'sqlite': pytest.skip('not there')")
    result = pytester.runpytest_inprocess("--whole", *PLUGINS)
    result.stdout.fnmatch_lines(["store tests passed: sqlite 0, postgresql 1", "FAILED: *"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_store_without_tests_on_any_database_fails_the_run(pytester: pytest.Pytester) -> None:
    _a_store_with(pytester, "@pytest.mark.skip\ndef test_it(database): pass")
    assert pytester.runpytest_inprocess("--whole", *PLUGINS).ret == pytest.ExitCode.TESTS_FAILED


def test_a_part_of_the_suite_is_not_judged_by_its_numbers(pytester: pytest.Pytester) -> None:
    _a_store_with(pytester, "def test_it(database): pass")
    assert pytester.runpytest_inprocess("-k", "sqlite", *PLUGINS).ret == pytest.ExitCode.OK
