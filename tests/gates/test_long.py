"""Long tests run alone, or with the others, and leave a page of what passed."""

from __future__ import annotations

import pytest

PLUGINS = ("-p", "tests.plugins.long", "-p", "no:cacheprovider")
TESTS = """
import pytest

def test_short(): pass

@pytest.mark.long
def test_long(record_property):
    record_property("told", "7 tests passed")
"""


@pytest.fixture
def two(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]\nmarkers = long: takes minutes")
    pytester.makepyfile(test_two=TESTS)
    return pytester


def test_long_tests_are_left_out_unless_they_are_asked_for(two: pytest.Pytester) -> None:
    two.runpytest_inprocess(*PLUGINS).assert_outcomes(passed=1, deselected=1)
    two.runpytest_inprocess("--also-long", *PLUGINS).assert_outcomes(passed=2)
    assert not (two.path / "docs").exists()


def test_the_page_of_the_long_tests_holds_what_they_tell_of_themselves(two: pytest.Pytester) -> None:
    two.runpytest_inprocess("--long", *PLUGINS).assert_outcomes(passed=1, deselected=1)
    page = (two.path / "docs" / "reference" / "check-long.md").read_text()
    assert "- result: **passed** (1 passed)" in page
    assert "- `test_two.py::test_long`: 7 tests passed" in page
    assert "test_short" not in page
