"""The public surface, as type checkers see it: what is right is accepted, and each mistake gives one plain error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.surface import check

HERE = Path(__file__).parent


def test_mypy_accepts_what_is_right_and_tells_each_mistake_once() -> None:
    assert check.differences(check.mypy) == []


@pytest.mark.timeout(120)
def test_pyright_accepts_what_is_right_and_tells_each_mistake_once() -> None:
    assert check.differences(check.pyright) == []


def test_what_no_checker_sees_has_a_test_that_shows_what_tells_it() -> None:
    tests = "".join(file.read_text(encoding="utf-8") for file in (HERE.parent / "unit" / "authoring").glob("test_*.py"))

    assert sorted(name for name in set(check.unseen()) if not re.search(rf"def {name}\b", tests)) == []
