"""A file of SQLite that a disk has spoilt: every command says so in a sentence, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command_line import Cli
from tests.corruption.clean import clean
from wfcelery.cli import group
from wfcelery.store import migrations
from wfcelery.store.database import Database

COMMANDS = [
    ("runs", "verify", "--all"),
    ("runs", "verify", "--all", "--fix", "--yes"),
    ("runs", "list"),
    ("db", "check"),
    ("db", "upgrade"),
    ("db", "expire"),
    ("dead", "list"),
    ("definitions", "list"),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("file") / "whole.db"
    database = Database(f"sqlite:///{file}")
    migrations.upgrade(database)
    clean(database)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return file.read_bytes()


def spoilt(whole: bytes) -> bytes:
    """Every page but the first ones has lost a piece."""
    found = bytearray(whole)
    for at in range(20_000, len(found) - 1_000, 4_096):
        found[at : at + 600] = b"\xff" * 600
    return bytes(found)


@pytest.mark.parametrize("how", ["spoilt", "cut short", "of its first page alone"])
def test_a_damaged_file_is_told_with_what_to_do_and_no_trace(how: str, whole: bytes, tmp_path: Path) -> None:
    damaged = {"spoilt": spoilt(whole), "cut short": whole[:30_000], "of its first page alone": whole[:4_096]}[how]
    told = 0
    for command in COMMANDS:
        file = tmp_path / "damaged.db"
        file.write_bytes(damaged)
        result = Cli(f"sqlite:///{file}").runner.invoke(group, ["--database", f"sqlite:///{file}", *command], prog_name="wfcelery")
        said = f"{command} {result.exit_code} {result.output[-500:]} {result.exception!r}"
        assert result.exception is None or isinstance(result.exception, SystemExit), said
        assert "Traceback" not in result.output, said
        if "damaged" in result.stderr:
            told += 1
            assert result.exit_code == 69, said
            assert "restore a backup, or save what can be read" in result.stderr, said
        for beside in tmp_path.iterdir():
            beside.unlink()
    assert told >= len(COMMANDS) // 2, "some look only at pages that are whole"
