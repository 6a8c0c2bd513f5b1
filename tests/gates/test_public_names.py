"""Nothing public is dead: every name is documented and has a caller or a test."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

import wfcelery

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("wfcelery", "tests", "tasks", "benchmarks") for path in (ROOT / folder).rglob("*.py")]


def words() -> Counter[str]:
    """How often each word stands anywhere in our sources."""
    return Counter(word for path in SOURCES for word in re.findall(r"\w+", path.read_text(encoding="utf-8")))


@pytest.mark.promise("B27")
def test_every_public_name_is_documented_and_used_by_a_test() -> None:
    tests = " ".join(path.read_text(encoding="utf-8") for path in SOURCES if "tests" in path.parts and path != Path(__file__))
    unused = [name for name in wfcelery.__all__ if not re.search(rf"\b{name}\b", tests)]
    undocumented = [name for name in wfcelery.__all__ if not (getattr(wfcelery, name).__doc__ or "").strip()]
    assert (unused, undocumented) == ([], [])


def test_no_function_or_class_is_without_a_caller() -> None:
    count, dead = words(), []
    for path in (ROOT / "wfcelery").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            if named and not node.name.startswith("__") and not node.decorator_list and count[node.name] < 2:
                dead.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert dead == []
