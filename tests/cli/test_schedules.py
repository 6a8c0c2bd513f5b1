"""`wfcelery schedules`: what its verbs print, and how they say no."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.eventually import eventually
from tests.cli.command_line import FLOWS, Cli
from tests.store.rows import look
from wfcelery.store.database import Database

NIGHTLY = ("schedules", "put", "nightly", "greeting", '{"name": "you"}', "--cron", "30 2 * * *", "--timezone", "Europe/Berlin")
FILE = """
name: filed
tasks:
  - {name: one, action: tests.cli.flows.greet, input: {name: you}}
schedules:
  - {name: from-the-file, cron: "0 3 * * *", timezone: Europe/Berlin, overlap: buffer, catch_up: 2h}
"""


def test_a_schedule_is_put_shown_listed_paused_resumed_and_deleted(empty: Cli) -> None:
    (made,) = empty.json("-A", FLOWS, *NIGHTLY, "--overlap", "cancel", "--catch-up", "2h", "--tag", "a", "--deadline", "1h")
    assert (made["name"], made["workflow"], made["cron"], made["timezone"]) == ("nightly", "greeting", "30 2 * * *", "Europe/Berlin")
    assert (made["overlap"], made["catch_up"], made["tags"], made["deadline"]) == ("cancel", 7200.0, ["a"], 3600.0)
    assert "name" not in str(made.get("input")), "no payload"
    assert empty.json("schedules", "show", "nightly") == [made] == empty.json("schedules", "list")
    assert empty.lines("schedules", "list", "-q") == ["nightly"]
    head, line = empty.lines("schedules", "list")
    assert (head.split("\t")[:4], line.split("\t")[:4]) == (
        ["name", "workflow", "when", "status"],
        ["nightly", "greeting", "30 2 * * * Europe/Berlin", "active"],
    )
    assert "paused" in empty("schedules", "pause", "nightly", "--reason", "stocktaking").stdout
    assert empty.json("schedules", "show", "nightly")[0]["reason"] == "stocktaking"
    assert "stocktaking" in empty("schedules", "show", "nightly").stdout
    assert empty.json("schedules", "resume", "nightly")[0]["next"] == made["next"]
    empty("schedules", "delete", "nightly", code=1)
    assert empty.json("schedules", "delete", "nightly", "--yes") == [{"deleted": "nightly"}]
    assert empty("schedules", "show", "nightly", code=3).stderr == "wfcelery: there is no schedule nightly\n"


def test_everything_wrong_is_told_at_once_and_nothing_is_written(empty: Cli) -> None:
    wrong = (
        "schedules",
        "put",
        "x",
        "greetin",
        "--cron",
        "61 * * * *",
        "--timezone",
        "Europe/Berln",
        "--catch-up",
        "1s",
        "--priority",
        "300",
    )
    said = empty("-A", FLOWS, *wrong, code=1).stderr
    for words in ("schedule x is not valid", "bad minute", "did you mean Europe/Berlin?", "at least 10 s", "did you mean greeting?", "255"):
        assert words in said
    assert "input.name: it is missing" in empty("-A", FLOWS, "schedules", "put", "x", "greeting", "--every", "1m", code=1).stderr
    assert "either `cron` or `every`" in empty("-A", FLOWS, "schedules", "put", "x", "greeting", '{"name":"a"}', code=1).stderr
    empty("schedules", "put", "x", "greeting", "[]", "--every", "1m", code=2)
    assert empty.json("schedules", "list") == []


def test_the_next_slots_are_shown_of_a_schedule_and_of_an_expression(empty: Cli) -> None:
    empty("-A", FLOWS, *NIGHTLY)
    slots = empty.json("schedules", "next", "nightly", "--count", "3")
    assert len(slots) == 3
    assert all(slot["local"][11:] in ("02:30:00+01:00", "02:30:00+02:00", "03:00:00+02:00") for slot in slots)
    assert empty.json("schedules", "next", "--cron", "30 2 * * *", "--timezone", "Europe/Berlin", "--count", "3") == slots
    assert "bad minute" in empty("schedules", "next", "--cron", "99 * * * *", code=1).stderr
    empty("schedules", "next", code=2)
    empty("schedules", "next", "nightly", "--every", "1m", code=2)
    empty("schedules", "next", "nightli", code=3)


def test_a_backfill_says_what_it_would_do_and_does_it_once(empty: Cli) -> None:
    empty("-A", FLOWS, *NIGHTLY)
    week = ("schedules", "backfill", "nightly", "--from", "2024-03-28", "--to", "2024-04-01T12:00")
    assert [slot["new"] for slot in empty.json(*week, "--dry-run")] == [True] * 5
    assert empty.json("runs", "list") == []
    done = empty(*week)
    assert done.stderr == "5 of 5 slots were started\n"
    assert len(done.stdout.splitlines()) == 6
    keys = sorted(run["key"] for run in empty.json("runs", "list"))
    assert keys[3] == "schedule:nightly:2024-03-31T01:00:00Z", "in the night whose 02:30 is skipped"
    assert empty(*week).stderr == "0 of 5 slots were started\n"
    assert "more slots than 3" in empty(*week, "--limit", "3", code=1).stderr
    assert "still to come" in empty("schedules", "backfill", "nightly", "--from", "2024-01-01", "--to", "2190-01-01", code=1).stderr


def test_schedules_of_a_file_are_put_in_place_and_stay_as_they_were_changed(empty: Cli, tmp_path: Path) -> None:
    file = tmp_path / "filed.yaml"
    file.write_text(FILE)
    assert empty.json("definitions", "publish", str(file))[0]["schedules"] == ["from-the-file"]
    (made,) = empty.json("schedules", "list")
    assert (made["workflow"], made["overlap"], made["catch_up"]) == ("filed", "buffer", 7200.0)
    empty("schedules", "put", "from-the-file", "filed", "--every", "1h")
    assert empty.json("definitions", "publish", str(file))[0]["schedules"] == [], "the file says nothing new"
    assert empty.json("schedules", "show", "from-the-file")[0]["every"] == 3600
    file.write_text(FILE.replace("buffer", "allow"))
    assert "schedule from-the-file put in place" in empty("definitions", "publish", str(file)).stderr
    assert empty.json("schedules", "show", "from-the-file")[0]["overlap"] == "allow"
    assert [row["revision"] for row in empty.json("definitions", "list")] == [1], "a schedule is no part of a definition"
    assert "schedules" not in empty.json("definitions", "show", "filed")[0]


def test_what_is_wrong_with_a_schedule_in_a_file_is_told_with_its_line(empty: Cli, tmp_path: Path) -> None:
    file = tmp_path / "filed.yaml"
    file.write_text(FILE.replace("0 3 * * *", "0 25 * * *").replace("Europe/Berlin", "Berlin").replace("2h", "2 hours"))
    (found,) = empty.json("definitions", "check", str(file), code=1)
    assert all(":6" in problem for problem in found["problems"])
    assert any("2 hours" in problem for problem in found["problems"])
    twice = "  - {name: from-the-file, every: 1h, input: {a: 1}}\n"
    file.write_text(FILE.replace("0 3 * * *", "0 25 * * *").replace("Europe/Berlin", "Berlin") + twice)
    (found,) = empty.json("definitions", "check", str(file), code=1)
    for words in ("bad hour", "no time zone 'Berlin'", "two schedules", "no such parameter"):
        assert any(words in problem for problem in found["problems"]), found["problems"]
    empty("definitions", "publish", str(file), code=1)
    assert empty.json("definitions", "list") == empty.json("schedules", "list") == []


@pytest.mark.promise("D15")
def test_the_worker_of_dev_starts_slots(cli: Cli) -> None:
    cli("-A", FLOWS, "schedules", "put", "often", "greeting", '{"name": "you"}', "--every", "1s")

    def succeeded() -> int:
        database = Database(cli.url)
        try:
            [(count,)] = look(database, "select count(*) from wf_run where key like 'schedule:often:%' and status = 'succeeded'")
        finally:
            database.close()
        return int(count)

    eventually(lambda: succeeded() >= 2, what="two slots have run")
    cli("schedules", "delete", "often", "--yes")


def test_a_schedule_is_run_by_hand_beside_its_slots(empty: Cli, tmp_path: Path) -> None:
    file = tmp_path / "by_hand.yaml"
    file.write_text(
        "name: by_hand\nparameters: {n: {type: integer, default: 1}}\ntasks: [{name: a, action: tests.cli.flows.shout, args: [x]}]\n"
    )
    empty("definitions", "publish", str(file))
    empty("schedules", "put", "rare", "by_hand", '{"n": 7}', "--every", "9d", "--tag", "blue")
    empty("schedules", "pause", "rare")
    (run,) = empty.lines("schedules", "run", "rare")
    (view,) = empty.json("runs", "show", run)
    assert (view["workflow"], view["tags"], view["key"]) == ("by_hand", ["blue"], None)
    assert empty.lines("schedules", "run", "rare")[0] != run
    (first,), (second,) = (empty.json("schedules", "run", "rare", "--key", "once") for _ in range(2))
    assert first == second
    assert empty.json("schedules", "show", "rare")[0]["started"] == 0
    empty("schedules", "run", "rarer", code=3)
