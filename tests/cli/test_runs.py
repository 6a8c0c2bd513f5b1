"""The verbs of runs, dead letters and definitions, on a database that a `wfcelery dev` works on."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

import pytest

from tests.acceptance.eventually import eventually
from tests.cli.command_line import FLOWS, Cli, ended, start
from wfcelery.definition.built_in import BUILT_IN
from wfcelery.store import reading, run_data
from wfcelery.store.database import Database


def test_a_run_started_by_another_process_begins_within_a_fifth_of_a_second(cli: Cli, dev_url: str) -> None:
    ids = []
    for number in range(7):
        ids.append(start(cli, "greeting", json.dumps({"name": f"n{number}"})))
        ended(cli, ids[-1])
    with Database(dev_url).transaction() as tx:
        records = [reading.find_runs(tx, run)[0] for run in ids]
    waited = [(record.started_at - record.created_at).total_seconds() for record in records if record.started_at]
    assert len(waited) == 7
    assert median(waited) <= 0.2


def test_start_wait_gives_the_result_and_a_key_starts_once(cli: Cli) -> None:
    assert cli.lines("-A", FLOWS, "runs", "start", "greeting", '{"name": "Ada"}', "--wait") == ['"HELLO ADA"']
    first = start(cli, "greeting", '{"name": "Bo"}', "--key", "b")
    assert start(cli, "greeting", '{"name": "Bo"}', "--key", "b") == first
    assert "b" in cli("runs", "start", "greeting", '{"name": "Cy"}', "--key", "b", code=4).stderr


@pytest.mark.promise("D7", "E21")
def test_show_tells_every_step_of_a_run_and_every_commit(cli: Cli) -> None:
    run = start(cli, "greeting", '{"name": "Dee"}')
    view = ended(cli, run)
    assert view["counts"] == {"succeeded": 2}
    assert view["executing"] == []
    assert [step["name"] for step in view["steps"]] == ["greet", "shout"]
    text = cli("runs", "show", run[-6:]).stdout
    assert "✔ succeeded  greet" in text
    commits = cli.json("runs", "show", run, "--history")
    assert [commit["version"] for commit in commits] == list(range(1, len(commits) + 1))
    facts = [fact["fact"] for commit in commits for fact in commit["facts"]]
    assert facts.index("step_succeeded") < len(facts) - 1
    assert cli.lines("runs", "show", run, "--history")[0] == "version\tat\tfact\tstep\tmore"


def test_what_people_are_shown_of_a_run_hides_its_secret_fields(cli: Cli, dev_url: str) -> None:
    given = json.dumps({"user": "ada", "password": "canary-55"})
    [printed] = cli.lines("-A", FLOWS, "runs", "start", "signing_in", given, "--wait", "--key", "s")
    assert json.loads(printed) == {"user": "ada", "token": "***"}
    [shown] = cli.json("runs", "show", "s", "--values")
    assert (shown["input"], shown["output"]) == ({"user": "ada", "password": "***"}, {"user": "ada", "token": "***"})
    assert shown["steps"][0]["input"] == {"user": "{{ parameters.user }}", "password": "***"}
    assert cli.lines("runs", "show", "s", "--values")[0] == "of\tinput\toutput"
    wrong = start(cli, "signing_in", json.dumps({"user": "mallory", "password": "canary-66"}))
    assert "wrong password ***" in str(ended(cli, wrong))
    with Database(dev_url).transaction() as tx:
        [run] = reading.find_runs(tx, "s")
        assert run_data.get(tx, run.id, "user") == ('"ada"', 1)
    told = [
        cli(*verb).stdout
        for verb in (("runs", "show", "s", "--history"), ("runs", "show", wrong), ("runs", "list", "--json"), ("dead", "list"))
    ]
    assert not [text for text in (*told, str(shown)) if "canary" in text]


def test_watch_ends_with_the_run_and_with_its_patience(cli: Cli) -> None:
    run = start(cli, "napping", '{"seconds": 30}')
    eventually(lambda: cli.json("runs", "show", run)[0]["executing"] == ["nap"])
    cli("runs", "watch", run, "--timeout", "0.3s", code=6)
    asked = cli.json("runs", "cancel", run, "--reason", "enough")
    assert asked == [{"id": run, "asked": "cancel", "reason": "enough"}]
    lines = cli.json("runs", "watch", run, "--exit-status", "--timeout", "30s", code=5)
    assert lines[-1]["status"] == "cancelled"
    assert lines[-1]["reason"] == "enough"
    assert "cancelled" in cli("runs", "cancel", run, code=4).stderr


def test_lists_are_tabs_when_piped_and_models_as_json(cli: Cli) -> None:
    run = start(cli, "greeting", '{"name": "Eve"}', "--tag", "x")
    ended(cli, run)
    header, *rows = cli.lines("runs", "list", "--workflow", "greeting", "--limit", "3")
    assert header.split("\t")[:3] == ["id", "workflow", "status"]
    assert rows[0].split("\t")[:3] == [run, "greeting", "succeeded"]
    assert cli.lines("runs", "list", "-q", "--limit", "1") == [run]
    assert cli.json("runs", "list", "--limit", "1")[0]["tags"] == ["x"]
    assert cli.json("runs", "verify", run) == [{"run": run, "problems": []}]


@pytest.mark.promise("A6")
def test_dead_letters_are_listed_shown_retried_and_purged(cli: Cli, tmp_path: Path) -> None:
    cli.json("dead", "purge", "--all", "--yes")  # what others have left
    flag = tmp_path / "flag"
    runs = [start(cli, "healing", json.dumps({"flag": str(flag)})) for _ in range(3)]
    for run in runs:
        assert ended(cli, run)["status"] == "failed"
    letters = cli.json("dead", "list")
    assert {letter["run"] for letter in letters} == set(runs)
    first = letters[0]
    assert (first["step"], first["attempts"], first["error"]["message"]) == ("healed", 1, "the flag is down")
    assert cli.json("dead", "show", first["id"][-8:]) == [first]
    flag.touch()
    assert cli.json("dead", "retry", first["id"]) == [{"to_be_retried": 1}]
    eventually(lambda: cli.json("runs", "show", first["run"])[0]["status"] == "succeeded")
    assert "retried" in cli("dead", "retry", first["id"], code=4).stderr
    assert cli.json("dead", "retry", "--all") == [{"to_be_retried": 2}]
    for run in runs:
        eventually(lambda run=run: cli.json("runs", "show", run)[0]["status"] == "succeeded")
    assert cli.lines("dead", "list", "-q") == []
    flag.unlink()
    ended(cli, start(cli, "healing", json.dumps({"flag": str(flag)})))
    cli("dead", "purge", "--all", code=1)  # nobody said yes
    assert cli.json("dead", "purge", "--all", "--yes") == [{"purged": 1}]
    assert cli.json("dead", "list") == []


@pytest.mark.promise("D19")
def test_workers_say_who_is_alive_what_they_serve_and_know(cli: Cli) -> None:
    (worker,) = cli.json("workers", "list")
    assert (worker["alive"], worker["queues"], worker["tasks"]) == (True, ["celery"], 5 + len(BUILT_IN))
    assert worker["name"].startswith("dev@")
    assert worker["build"]
    assert cli.lines("workers", "list")[0].startswith("name\tstatus\tqueues\t")


def test_doctor_finds_nothing_wrong_with_it(cli: Cli) -> None:
    levels = {finding["level"] for finding in cli.json("doctor")}
    assert levels <= {"ok", "warning"}
