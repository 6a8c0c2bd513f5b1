"""The table of docs/reference/outcomes.md, row by row."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.engine.machine import Machine
from tests.store.rows import look
from wfcelery.engine.ports import Call, Outcome, Raised
from wfcelery.store.database import Database

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "outcomes.md"
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in PAGE.read_text().splitlines()
    if re.match(r"\| (succeeds|fails|times out|is )", line)
]
FAILURE = {"type": "Full", "code": None, "message": "no room"}


def _workflow(end: str, says: str) -> str:
    said = says.strip("`{}") if says.startswith("`{") else says.strip("`")
    wanted = "false" if end == "is skipped" else "true"
    retry = "" if "retry" in said else "retry: {count: 0}, "
    handler = "  - {name: handler, action: handler}\n" if "handler" in said else ""
    return f"""
name: outcomes
tasks:
  - {{name: before, action: before, compensate: undo}}
  - {{name: it, action: it, after: before, when: "{{{{ {wanted} }}}}", {retry}{said}}}
  - {{name: next, action: next, after: it}}
{handler}"""


@pytest.mark.parametrize(("end", "says", "then", "run", "letter"), ROWS)
def test_each_row_of_the_table_is_what_happens(database: Database, end: str, says: str, then: str, run: str, letter: str) -> None:
    def meanwhile(machine: Machine, call: Call) -> Outcome | None:
        if call.action == "it" and end == "is cancelled with the run":
            machine.put("cancel", reason="enough", by="ada")
        if call.action != "it" or (end == "fails once" and call.failures):
            return None
        return {"fails": Raised(FAILURE), "fails once": Raised(FAILURE), "times out": Raised(FAILURE, end="timed_out")}.get(end)

    machine = Machine(database, _workflow(end, says), meanwhile)
    assert machine.work() == run
    called = {name.removeprefix("before:").replace("compensate", "undo") for name in machine.calls} - {"before", "it"}
    assert called == ({*then.split(", ")} - {"nothing"})
    letters = [str(status) for (status,) in look(database, "select status from wf_dead_letter where name = 'it'")]
    assert letters == ([] if letter == "none" else [letter])
    assert not machine.problems()


def test_the_table_tells_of_every_end_and_every_word() -> None:
    assert len(ROWS) > 20
    assert {row[0] for row in ROWS} == {"succeeds", "fails once", "fails", "times out", "is skipped", "is cancelled with the run"}
    said = " ".join(row[1] for row in ROWS)
    assert all(word in said for word in ("stop", "continue", "compensate", "on_failure", "on_timeout", "on_complete", "retry"))
