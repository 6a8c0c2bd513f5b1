"""The files of JSON lines that the checker reads beside the tables, and its page."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cli.command_line import Cli
from tests.corruption.clean import clean
from wfcelery.service.invariants import Effect, Start, page, read_effects, read_starts, read_tap
from wfcelery.store.database import Database

RUN, TOKEN = uuid4(), uuid4()
PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "invariants.md"


def _file(path: Path, *lines: object) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_effects_ledger_is_read_by_run_with_its_kinds_and_crashes(tmp_path: Path) -> None:
    entry = {"key": "k", "run": str(RUN), "step": "a", "attempt": 2, "token": str(TOKEN), "phase": "applied", "pid": 7}
    file = _file(tmp_path / "effects.jsonl", {"workflow": "order", "step": "a", "kind": "transactional"}, entry, {"phase": "crash"})
    effects, kinds, crashes = read_effects(file)
    assert effects == {RUN: [Effect("k", RUN, "a", 2, TOKEN, "applied")]}
    assert (kinds, crashes) == ({("order", "a"): "transactional"}, 1)


def test_starts_and_messages_are_read(tmp_path: Path) -> None:
    starts = _file(tmp_path / "starts.jsonl", {"phase": "answered", "run": str(RUN), "key": "k", "workflow": "order"})
    assert read_starts(starts) == [Start("answered", RUN, "k", "order")]
    [as_text, as_object] = read_tap(_file(tmp_path / "tap.jsonl", {"body": '{"v":1}'}, {"body": {"v": 1}, "bytes": 99}))
    assert (as_text.body, as_text.bytes) == ({"v": 1}, 7)
    assert (as_object.body, as_object.bytes) == ({"v": 1}, 99)


@pytest.mark.parametrize("line", ["{", "[]", '{"phase": "begun"}', '{"key":"k","run":"x","step":"a","attempt":1,"phase":"begun"}'])
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "effects.jsonl"
    file.write_text(f'{{"phase": "crash"}}\n{line}\n')
    with pytest.raises(ValueError, match=r"effects\.jsonl, line 2: "):
        read_effects(file)


def test_the_command_line_judges_by_the_ledgers(sqlite: Database, tmp_path: Path) -> None:
    runs = clean(sqlite)
    cli = Cli(sqlite.url)
    entry = {"key": "k", "run": str(RUN), "step": "a", "attempt": 1, "phase": "begun"}
    effects = str(_file(tmp_path / "effects.jsonl", entry))
    said = cli("runs", "verify", "--all", "--effects", effects, code=1).stdout.splitlines()
    assert said[0] == f"*\t29 claimed: run {RUN}: the ledger has effects of it, and there is no such run"
    assert "1 terminal" in cli("runs", "verify", str(runs.runs["open"]), "--drained", code=1).stdout
    assert "line 1" in cli("runs", "verify", "--all", "--starts", effects, code=2).stderr


def test_the_page_of_invariants_is_up_to_date() -> None:
    assert PAGE.read_text() == page.page(), "make docs"
