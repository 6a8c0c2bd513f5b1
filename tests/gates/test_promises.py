"""Every promise has a test, or is said to be open."""

from __future__ import annotations

import ast

import pytest

from tests.plugins import promises
from tests.plugins.promises import PAGE, read_promises, render, shown_by_row


def test_every_promise_that_is_not_open_has_a_test() -> None:
    known = read_promises()
    assert sorted(set(known.sentences) - known.open - set(shown_by_row())) == []


def test_no_promise_is_said_to_be_open_that_is_not_one() -> None:
    known = read_promises()
    assert sorted(known.open - set(known.sentences)) == []


def test_every_mark_names_a_promise() -> None:
    assert sorted(set(shown_by_row()) - set(read_promises().sentences)) == []


def test_the_page_of_promises_is_what_the_marks_say() -> None:
    assert PAGE.read_text() == render(read_promises(), shown_by_row()), "run `make docs`"


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (("A1", "A2", "A3"), None),
        ((), "a test shows one to 3 rows, this one names 0: split it"),
        (("A1", "A2", "A3", "A5"), "a test shows one to 3 rows, this one names 4: split it"),
        (("A1", "Z9"), "docs/reference/promises.toml has no row 'Z9'"),
    ],
)
def test_a_mark_with_too_many_or_unknown_rows_is_a_problem(rows: tuple[str, ...], problem: str | None) -> None:
    assert promises.problems(rows, read_promises().sentences) == problem


def test_marks_of_functions_classes_and_modules_are_found() -> None:
    source = """
import pytest
pytestmark = pytest.mark.promise("A1")
@pytest.mark.promise("B1")
class TestThings:
    @pytest.mark.promise("C1", "C2")
    def test_a(self): ...
def test_b(): ...
def helper(): ...
"""
    assert dict(promises._marks(ast.parse(source))) == {"test_a": ["A1", "B1", "C1", "C2"], "test_b": ["A1"]}
