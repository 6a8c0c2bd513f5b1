"""What is wrong with a definition, as the command line tells it; nothing wrong is ever stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command_line import Cli
from tests.promises.conftest import Here

EIGHT_FAULTS = """\
name: fulfil
parameters:
  order: {type: objct}
tasks:
  - name: reserve
    action: shop.reserve
    retry: {cuont: 5}
  - name: charge
    action: shop.charge
    after: [resrve]
    timeout: 5 parsecs
  - name: ask
    type: slep
  - name: ship
    action: shop.ship
    input:
      id: "{{ parameters.ordr }}"
      paid: "{{ task.label.result }}"
  - {name: label, action: shop.label, join: 2}
output: "{{ task.ship.result }}"
"""
LINES = [3, 7, 10, 11, 13, 17, 18, 19]


@pytest.mark.promise("E1")
def test_eight_faults_of_one_file_are_told_at_once_with_their_lines(here: Here, tmp_path: Path) -> None:
    file = tmp_path / "fulfil.yaml"
    file.write_text(EIGHT_FAULTS)
    cli = Cli(here.database_url)
    (told,) = cli.json("definitions", "check", str(file), code=1)
    assert [int(problem.split(":")[1]) for problem in told["problems"]] == LINES
    cli("definitions", "publish", str(file), code=1)
    assert here.query("select count(*) from wf_definition where name = 'fulfil'") == [(0,)]


NEVER = {
    "a circle": ("[{name: a, action: x, after: [c]}, {name: b, action: x, after: [a]}, {name: c, action: x, after: [b]}]", "in a circle"),
    "a task after itself": ("[{name: a, action: x, after: [a]}]", "cannot come after itself"),
    "more than can come": (
        "[{name: a, action: x}, {name: b, action: x}, {name: c, action: x, after: [a, b], join: 3}]",
        "join: 3 can never be reached",
    ),
    "both branches of a decision": (
        "[{name: a, action: x, decision: [{when: 'parameters.n > 1', next: b}, {default: c}]}, {name: b, action: x, on_success: z}, "
        "{name: c, action: x, on_success: z}, {name: z, action: x, join: 2}]",
        "z: it can never start",
    ),
    "success and failure of one task": (
        "[{name: a, action: x, on_failure: b}, {name: b, action: x}, {name: c, action: x, needs: [a, b]}]",
        "c: it can never start",
    ),
    "an unknown target": ("[{name: charge, action: x, on_success: [shp]}, {name: ship, action: x}]", "did you mean ship"),
}


@pytest.mark.promise("E3", "E2")
@pytest.mark.parametrize("kind", NEVER)
def test_a_graph_that_cannot_come_to_its_end_is_refused_before_it_is_stored(here: Here, tmp_path: Path, kind: str) -> None:
    tasks, sentence = NEVER[kind]
    file = tmp_path / "never.yaml"
    file.write_text(f"name: never\nparameters: {{n: {{type: integer, default: 1}}}}\ntasks: {tasks}\n")
    cli = Cli(here.database_url)
    (told,) = cli.json("definitions", "check", str(file), code=1)
    assert any(sentence in problem for problem in told["problems"]), told
    cli("definitions", "publish", str(file), code=1)
    assert here.query("select count(*) from wf_definition where name = 'never'") == [(0,)]
