"""The docs say one thing with one word, and nothing of the machine they were written on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.toml")])
SOURCES = sorted(path for folder in ("wfcelery", "tasks", "benchmarks", "model") for path in (ROOT / folder).rglob("*.py"))

OUR_WORD = {
    r"\bdlqs?\b": "dead letter",
    r"\btenants?\b": "organization",
    r"\boutbox(es)?\b": "a ready step's row",
    r"\bticks?\b": "sweep",
}
UNFINISHED = r"\b(todo|fixme|xxx|lorem ipsum|tbd)\b"
SOMEBODYS_MACHINE = r"(?<![\w.])/(work|root|home/\w+|users/\w+)/"


def _found(pattern: str, path: Path) -> list[str]:
    name, lines = path.relative_to(ROOT), path.read_text().splitlines()
    return [f"{name}:{number}: {line.strip()}" for number, line in enumerate(lines, 1) if re.search(pattern, line, re.IGNORECASE)]


@pytest.mark.parametrize(("other", "ours"), OUR_WORD.items(), ids=OUR_WORD.values())
def test_a_page_uses_our_word_for_a_thing(other: str, ours: str) -> None:
    found = [line for page in PAGES for line in _found(other, page)]
    assert found == [], f"say {ours!r}"


def test_nothing_is_left_to_be_done_in_the_docs_and_the_code() -> None:
    assert [line for path in (*PAGES, *SOURCES) for line in _found(UNFINISHED, path)] == []


def test_nothing_names_a_path_of_somebodys_machine() -> None:
    assert [line for path in (*PAGES, *SOURCES) for line in _found(SOMEBODYS_MACHINE, path)] == []
