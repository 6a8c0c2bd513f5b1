"""Other engines in the benchmark: what they came to is told, and one that cannot run ends nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks import page, tables
from benchmarks.cells import Cell, Journal, Plan
from benchmarks.report import Report, document
from benchmarks.sides.catalogue import BY_NAME
from benchmarks.sides.peers.catalogue import PEERS, PEERS_BY_NAME
from benchmarks.taking_part import Absent, taking_part

SERVERS = {"server_version": "18", "fsync": "on", "synchronous_commit": "on", "appendfsync": "everysec"}
MACHINE = {"cores": "2", "python": "3.11", "celery": "5.7"}
PLAN = Plan("abc", "", ("raw", "wfcelery", "dbos", "absurd"), (("W1", 40),), 1, SERVERS, MACHINE)
CELLS = [
    Cell(1, "raw", "W1", 40, 20.0, 40),
    Cell(1, "wfcelery", "W1", 40, 10.0, 40),
    Cell(1, "dbos", "W1", 40, 30.0, 40),
    Cell(1, "absurd", "W1", 40, None, 0, error="first line\nno such table", command="python -m absurd prepare"),
]


def never(_: Any) -> None:
    raise AssertionError("it was never up")


def test_a_side_that_cannot_be_prepared_is_absent_with_its_command_and_its_error(tmp_path: Path) -> None:
    postgres = SimpleNamespace(folder=tmp_path, port=1, url=lambda name: name, socket_url=lambda name: name)
    servers: Any = SimpleNamespace(postgres=postgres, redis=SimpleNamespace(url=str))
    broken = replace(BY_NAME["raw"], prepare=(("-c", "raise SystemExit('there are no tables')"),))

    with taking_part(broken, servers, tmp_path, never) as side:
        assert isinstance(side, Absent)
        assert "raise SystemExit" in side.command
        assert side.said.endswith("there are no tables")


def test_results_tell_a_peers_ratios_or_why_it_could_not_run() -> None:
    told = document(Journal(None, "2026-01-01T00:00:00+00:00", PLAN, CELLS), finished=True)["peers"]

    assert told["dbos"]["ratios"]["W1"] == 1.5
    assert (told["absurd"]["command"], told["absurd"]["error"]) == ("python -m absurd prepare", "first line\nno such table")


def test_the_table_and_the_page_name_the_one_that_could_not_run() -> None:
    report = Report(CELLS)

    assert "| `python -m absurd prepare` | `no such table` |" in tables.all_of(report, PLAN.sides)
    text = page.page("it.json", {"at": "2026-01-01", "commit": "abc", "machine": MACHINE, "servers": SERVERS}, report)
    assert "## Beside other engines" in text
    assert f"| {PEERS_BY_NAME['dbos'].label} | 1.5 |" in text


def test_the_page_shows_the_other_engines_of_a_run_of_their_own() -> None:
    told = {"at": "2026-01-01", "commit": "abc", "machine": MACHINE, "servers": SERVERS}
    alone = Report([cell for cell in CELLS if cell.side not in PEERS_BY_NAME])

    assert "## Beside other engines" not in page.page("it.json", told, alone)
    text = page.page("it.json", told, alone, page.Beside("theirs.json", told, Report(CELLS)))
    assert "in a run of its own (`benchmarks/theirs.json`: 2026-01-01, commit `abc`" in text
    assert f"| {PEERS_BY_NAME['dbos'].label} | 1.5 |" in text


def test_a_peers_label_says_the_version_that_is_installed() -> None:
    for peer in PEERS:
        versions = {package.rpartition("==")[2] for package in peer.packages} | {name.rpartition("@")[2] for name in peer.node_packages}
        said = peer.label.split(",")[0].split() + peer.label.split()
        assert any(word.strip(",") in versions for word in said), peer.label
