"""Drafts, the archive, what differs between versions, and their pictures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command_line import FLOWS, ROOT, Cli, environment
from tests.cli.flows import greeting
from tests.store.rows import look
from wfcelery import NotAllowedNow, NotFound, archive_definition, publish_definition, start_workflow, unarchive_definition
from wfcelery.service import definitions
from wfcelery.service.context import current
from wfcelery.store.database import Database
from wfcelery.store.reading import find_runs

ONE = """
name: parcel
version: "{version}"
parameters: {{id: {{type: integer, default: 1}}}}
tasks:
  - {{name: weigh, action: tests.cli.flows.greet, input: {{name: "{word}"}}}}
  - {{name: ship, action: tests.cli.flows.greet, after: [weigh], when: "{{{{ parameters.id > 0 }}}}", input: {{name: you}}}}
"""


def file(folder: Path, version: str, word: str = "x", more: str = "") -> str:
    made = folder / f"parcel-{version}-{word}.yaml"
    made.write_text(ONE.format(version=version, word=word) + more)
    return str(made)


def statuses(cli: Cli) -> list[tuple[str, str]]:
    return [(row["version"], row["status"]) for row in cli.json("definitions", "list")]


def test_a_draft_does_not_start_until_it_is_published(empty: Cli, tmp_path: Path) -> None:
    schedules = '\nschedules: [{name: nightly, cron: "0 3 * * *"}]\n'
    text = file(tmp_path, "1", more=schedules)
    (stored,) = empty.json("definitions", "publish", "--draft", text)
    assert (stored["status"], stored["schedules"]) == ("draft", [])
    assert "published definition" in empty("runs", "start", "parcel", code=3).stderr
    assert empty.json("definitions", "publish", "parcel@1")[0]["status"] == "published"
    empty("runs", "start", "parcel")
    empty("definitions", "publish", "parcel@1", code=4)
    empty("definitions", "publish", "nowhere@1", code=3)
    assert empty.json("definitions", "publish", text)[0]["schedules"] == ["nightly"]


def test_a_draft_that_is_published_last_is_the_newest(empty: Cli, tmp_path: Path) -> None:
    empty("definitions", "publish", "--draft", file(tmp_path, "1"))
    empty("definitions", "publish", file(tmp_path, "2"))
    empty("definitions", "publish", file(tmp_path, "1"))
    assert statuses(empty) == [("1", "published"), ("2", "published")]
    assert empty.json("runs", "show", empty("runs", "start", "parcel").stdout.strip())[0]["version_label"] == "1"


def test_what_is_archived_does_not_start_and_comes_back_to_its_place(empty: Cli, tmp_path: Path) -> None:
    for version in ("1", "2"):
        empty("definitions", "publish", file(tmp_path, version))
    assert [row["version"] for row in empty.json("definitions", "archive", "parcel@2")] == ["2"]
    assert empty.json("runs", "show", empty("runs", "start", "parcel").stdout.strip())[0]["version_label"] == "1"
    empty("definitions", "archive", "parcel@2", code=4)
    empty("definitions", "publish", file(tmp_path, "2"))
    assert statuses(empty) == [("2", "archived"), ("1", "published")], "its file does not take it out of the archive"
    empty("definitions", "archive", "parcel")
    empty("runs", "start", "parcel", code=3)
    assert len(empty.json("definitions", "unarchive", "parcel")) == 2
    assert statuses(empty) == [("2", "published"), ("1", "published")]
    audit = "select verb, reason from wf_audit order by at, id"
    told = Database(empty.url)
    with told.engine.connect() as connection:
        rows = [tuple(row) for row in connection.exec_driver_sql(audit)]
    told.close()
    assert rows[0] == ("archive_definition", "parcel@2")
    assert {verb for verb, _ in rows} == {"archive_definition", "unarchive_definition"}


@pytest.mark.promise("D17")
def test_a_start_by_name_takes_a_version_or_the_latest_and_pins_it(empty: Cli, tmp_path: Path) -> None:
    for version in ("1", "2"):
        empty("definitions", "publish", file(tmp_path, version))

    def label(run: str) -> tuple[str, str]:
        (view,) = empty.json("runs", "show", run)
        return view["version_label"], view["organization_id"]

    assert label(start_workflow("parcel", {"id": 7}, version="1", organization_id="acme").id) == ("1", "acme")
    latest = start_workflow("parcel", version="latest").id
    empty("definitions", "publish", file(tmp_path, "3"))
    assert label(latest) == ("2", "default")
    assert label(empty("runs", "start", "parcel", "--version", "1").stdout.strip()) == ("1", "default")
    empty("definitions", "publish", file(tmp_path, "1", word="changed"))
    again = start_workflow("parcel", version="1").id
    with current().transaction() as tx:
        (found,) = find_runs(tx, again, None, limit=1)
        (revision,) = [each.revision for each in definitions.stored.listed(tx) if each.signature == found.definition]
    assert revision == 2, "of a label the latest revision"
    with pytest.raises(NotFound, match="parcel@9; did you mean parcel@1"):
        start_workflow("parcel", version="9")


def test_a_process_that_has_started_by_a_definition_notices_that_it_was_archived(empty: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    empty("-A", FLOWS, "definitions", "list")
    start_workflow(greeting.bind("you"))
    monkeypatch.setattr(definitions, "LOOK_AGAIN", 0.0)
    Cli(empty.url)("definitions", "archive", "greeting", "--by", "ada")
    with pytest.raises(NotAllowedNow, match="greeting version 1 is archived"):
        start_workflow(greeting.bind("you"))
    assert unarchive_definition("greeting", by="ada")[0].status == "published"
    start_workflow(greeting.bind("you"))
    assert archive_definition("greeting@1")[0].status == "archived"


def test_code_files_and_dicts_are_published_alike(empty: Cli, tmp_path: Path) -> None:
    empty("-A", FLOWS, "definitions", "list")
    assert publish_definition(greeting, draft=True).status == "draft"
    with pytest.raises(NotAllowedNow, match="is a draft"):
        start_workflow(greeting.bind("you"))
    assert publish_definition("greeting@1", by="ada").status == "published"
    start_workflow(greeting.bind("you"))
    text = Path(file(tmp_path, "1"))
    written = publish_definition(text)
    document = {
        "name": "parcel",
        "version": "1",
        "parameters": {"id": {"type": "integer", "default": 1}},
        "tasks": [
            {"name": "weigh", "action": "tests.cli.flows.greet", "input": {"name": "x"}},
            {"name": "ship", "action": "tests.cli.flows.greet", "after": "weigh", "when": "parameters.id > 0", "input": {"name": "you"}},
        ],
    }
    assert publish_definition(document).signature == written.signature


def test_what_differs_between_two_versions_is_told_by_its_parts(empty: Cli, tmp_path: Path) -> None:
    more = "  - {name: tell, action: tests.cli.flows.greet, on_success: [], needs: [ship], input: {name: all}}\n"
    empty("definitions", "publish", file(tmp_path, "1"), file(tmp_path, "2", word="heavy", more=more))
    told = empty.json("definitions", "diff", "parcel@1", "parcel@2", code=1)
    assert {(each["what"], each["part"], each["name"]) for each in told} == {
        ("changed", "task", "weigh.input"),
        ("added", "task", "tell"),
        ("added", "edge", "ship -> tell"),
    }
    assert empty.json("definitions", "diff", "parcel@1", file(tmp_path, "1")) == []
    empty("definitions", "diff", "parcel@1", "parcel@9", code=3)


def test_a_definition_is_drawn_as_a_flowchart(empty: Cli, tmp_path: Path) -> None:
    text = tmp_path / "drawn.yaml"
    text.write_text("""
name: drawn
tasks:
  - {name: weigh, action: a.b, decision: [{when: "task.weigh.result > 3", next: both, label: heavy}, {default: light}], on_failure: sorry}
  - name: both
    type: parallel
    tasks: [{name: left, action: a.b}, {name: right, type: sleep, duration: 1s}]
  - {name: light, action: 'a."b"'}
  - {name: sorry, type: fail, message: no}
""")
    empty("definitions", "publish", str(text))
    drawn = empty("definitions", "graph", "drawn").stdout
    assert drawn == empty("definitions", "graph", str(text)).stdout
    assert drawn.splitlines() == [
        "flowchart TD",
        '  t0["weigh<br/>a.b"]',
        '  subgraph t1["both"]',
        '    t2["left<br/>a.b"]',
        '    t3{{"right<br/>sleep"}}',
        "  end",
        '  t4["light<br/>a.&quot;b&quot;"]',
        '  t5(["sorry<br/>fail"])',
        '  t0 -.->|"failed"| t5',
        '  t0 -->|"heavy"| t1',
        '  t0 -->|"default"| t4',
    ]


LIVE = """
name: live
version: "1"
tasks:
  - {name: first, action: tests.cli.flows.greet, input: {name: you}}
  - {name: rest, type: sleep, duration: 1h}
  - {name: gone, action: tests.cli.flows.grete, after: [rest], input: {name: you}}
  - {name: changed, action: tests.cli.flows.greet, after: [rest], input: {name: you, loudly: true}}
  - {name: less, action: tests.cli.flows.greet, after: [rest]}
  - {name: right, action: tests.cli.flows.shout, after: [rest], args: [x]}
"""


def test_check_tells_what_runs_under_way_have_to_call_and_the_code_has_not(empty: Cli, tmp_path: Path) -> None:
    text = tmp_path / "live.yaml"
    text.write_text(LIVE)
    empty("definitions", "publish", str(text))
    assert empty.json("-A", FLOWS, "definitions", "check")[0]["problems"] == [], "no run has to call it"
    for _ in range(2):
        empty("runs", "start", "live")
    (told,) = empty.json("-A", FLOWS, "definitions", "check", code=1)
    greet = "(2 runs): tests.cli.flows.greet cannot be called as it is written there:"
    aliases = "keep it, or let another have its name, by @step(aliases=[...])"
    assert told["problems"] == [
        f"live@1, task gone (2 runs): this code has no step tests.cli.flows.grete: {aliases}; did you mean tests.cli.flows.greet?",
        f"live@1, task changed {greet} got an unexpected keyword argument 'loudly'",
        f"live@1, task less {greet} missing a required argument: 'name'",
    ]
    with Database(empty.url).engine.begin() as connection:  # nobody works here
        ended = "status = 'cancelled', version = 1, ended_at = 1, ring_at = null, due_at = null"
        connection.exec_driver_sql(f"update wf_run set {ended}")
    assert empty.json("-A", FLOWS, "definitions", "check")[0]["problems"] == []


def test_a_start_by_name_takes_values_by_the_annotations_of_the_code_that_is_known(empty: Cli, tmp_path: Path) -> None:
    expense = json.dumps({"expense": {"id": 1, "by": "ada", "amount": "101"}})
    empty("definitions", "publish", str(ROOT / "tasks" / "expenses.yaml"))
    alone = "import sys; from wfcelery.cli import group; group(sys.argv[1:])"
    command = [sys.executable, "-c", alone, "--database", empty.url, "runs", "start", "reimburse", expense]
    subprocess.run(command, check=True, env=environment(), cwd=tmp_path, capture_output=True, timeout=60)
    empty("-A", "tasks.expenses", "runs", "start", "reimburse", expense)
    started = start_workflow("reimburse", json.loads(expense))
    wrong = empty("-A", "tasks.expenses", "runs", "start", "reimburse", expense.replace("101", "much"), code=1).stderr
    assert "expense.amount: Input should be a valid decimal" in wrong
    started.replay(set={"expense.amount": "7.10"})
    amounts = [json.loads(given)["expense"]["amount"] for (given,) in look(Database(empty.url), "select input from wf_run order by id")]
    assert amounts == ["101", {"$wf": ["decimal", "101"]}, {"$wf": ["decimal", "101"]}, {"$wf": ["decimal", "7.10"]}]
