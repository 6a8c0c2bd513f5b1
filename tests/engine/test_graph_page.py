"""The definitions of docs/reference/graph.md: those of patterns, which real workers run, and a block, which is run here."""

from __future__ import annotations

import re
from pathlib import Path

from tests.engine.machine import Machine
from tests.store.rows import look
from wfcelery.authoring.yaml import load_yaml, load_yaml_file
from wfcelery.definition.model import signature
from wfcelery.store.database import Database

DOCS = Path(__file__).parents[2] / "docs"
BLOCKS = {
    load_yaml(block).name: block for block in re.findall(r"```yaml\n(.*?)```", (DOCS / "reference" / "graph.md").read_text(), re.DOTALL)
}


def test_what_the_page_shows_are_patterns_and_one_block() -> None:
    patterns = {signature(load_yaml_file(file)) for file in (DOCS / "patterns").glob("*.yaml")}
    assert {name for name, block in BLOCKS.items() if signature(load_yaml(block)) not in patterns} == {"publish_book"}


def test_a_block_ends_when_all_of_it_has_and_then_chooses(database: Database) -> None:
    machine = Machine(database, BLOCKS["publish_book"])
    assert machine.work() == "succeeded"
    assert machine.calls == {"pages": 1, "cover": 1, "bind": 1}
    assert look(database, "select output from wf_run") == [('"bind"',)]
    assert look(database, "select status from wf_step where name = 'throw_away'") == [("skipped",)]
    assert not machine.problems()
