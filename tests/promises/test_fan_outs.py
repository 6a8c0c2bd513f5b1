"""What becomes of many items of one task, through a real worker."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.eventually import eventually
from tests.promises.conftest import Here

ITEMS = 10_000
LOOSE = "select count(*) from wf_step where run = :run and item >= 0 and status in ('ready', 'running', 'reported')"
CHOSEN = """
name: chosen
parameters: {people: {type: array, required: true}, least: {type: integer, default: 18}}
tasks:
  - name: greet
    action: $app.echo
    with_items: "{{ parameters.people }}"
    filter: "{{ item.age >= parameters.least }}"
    when: "{{ item.name != 'Bob' or index == 0 }}"
    input: {value: "{{ index }}: {{ item.name }}"}
  - name: pair
    action: $app.echo
    with_items: "{{ parameters.people }}"
    batch_size: 2
    input: {value: "{{ item[0].name }}"}
output: {greeted: "{{ task.greet.results }}", pairs: "{{ task.pair.results }}"}
"""


@pytest.mark.promise("E14")
def test_of_ten_thousand_items_fifty_are_in_flight_and_the_one_that_failed_runs_again(here: Here, tmp_path: Path) -> None:
    """Item 7 fails and stops the others; run again, it alone has two attempts, and all results are in their order."""
    flag = tmp_path / "flag"
    run = here.start(f"app_module.inspected.bind({ITEMS}, {str(flag)!r})")
    most = 0

    def ended() -> bool:
        nonlocal most
        most = max(most, here.query(LOOSE, run=here.id(run))[0][0])
        return here.status(run) in ("succeeded", "failed")

    eventually(ended, within=60, what=f"{run} has failed")
    assert here.status(run) == "failed"
    flag.touch()
    here.run("runs", "rerun-failed", run, "sound", "--by", "ops")
    eventually(lambda: here.status(run) != "failed", within=20, what=f"{run} goes on")
    eventually(ended, within=90, what=f"{run} has ended")
    assert here.result(run) == ITEMS
    assert 0 < most <= 50
    twice = "select item from wf_step where run = :run and item >= 0 and attempt > 1"
    assert here.query(twice, run=here.id(run)) == [(7,)]
    here.run("runs", "rerun-failed", run, "sound", code=4)


@pytest.mark.promise("E26")
def test_a_filter_leaves_items_out_and_a_condition_of_their_own_skips_them(here: Here) -> None:
    people = [{"name": "Ann", "age": 44}, {"name": "Tim", "age": 7}, {"name": "Bob", "age": 30}, {"name": "Eve", "age": 18}]
    here.publish(CHOSEN)
    run = here.named("chosen", {"people": people})
    assert here.result(run) == {"greeted": ["0: Ann", None, "2: Eve"], "pairs": ["Ann", "Bob"]}
    rows = here.query("select item, status from wf_step where run = :run and name = 'greet' and item >= 0 order by item", run=here.id(run))
    assert rows == [(0, "succeeded"), (1, "skipped"), (2, "succeeded")]


def test_what_may_be_asked_of_a_fan_out_stands_beside_it(here: Here, tmp_path: Path) -> None:
    run = here.start(f"app_module.inspected.bind(9, {str(tmp_path / 'flag')!r})")
    assert here.ended(run) == "failed"
    look = f"[s.allowed_actions for s in runs.shown(current(), {run!r}).steps if s.items is not None]"
    assert here.shell(f"from wfcelery.service import runs\nfrom wfcelery.service.context import current\n{look}") == [["rerun_failed"]]
