"""Child workflows and loops, as real workers run them, on both databases."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.eventually import eventually
from tests.acceptance.processes import Fleet
from tests.acceptance.test_language import PUBLISH

DOCS = Path(__file__).parents[2] / "docs" / "reference"


@pytest.fixture(scope="module")
def here(make_shared_fleet: Callable[..., Fleet]) -> Fleet:
    fleet = make_shared_fleet(environment={"WFCELERY_POLL": "0.2", "WFCELERY_LEASE": "3"})
    return fleet.ready(fleet.worker(pool="threads", concurrency=4))


def _publish(fleet: Fleet, folder: Path, *texts: str) -> None:
    for number, text in enumerate(texts):
        (folder / f"{number}.yaml").write_text(text)
    fleet.shell(f"{PUBLISH}len(publishing.publish(current(), [app_module.Path({str(folder)!r})]))")


def _yaml_of(page: str) -> str:
    (found,) = re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(), re.S)
    return str(found).replace("shop.", "tests.acceptance.composition.")


CHILD = """
name: pack
parameters: {order: {type: integer, required: true}}
tasks:
  - {name: wrap, action: tests.acceptance.composition.wrap, input: {order: "{{ parameters.order }}"}}
output: "{{ task.wrap.result }}"
"""


def _children(fleet: Fleet, run: str) -> list[tuple[Any, ...]]:
    look = "select r.workflow, r.status, r.depth from wf_run r join wf_step s on s.id = r.parent_step where s.run = cast(:run as uuid)"
    return fleet.query(f"{look} order by r.created_at", run=run)


@pytest.mark.promise("E15", "B16")
def test_a_call_is_worth_what_its_child_returns_and_begins_as_any_run_does(here: Fleet, tmp_path: Path) -> None:
    _publish(here, tmp_path, CHILD, _yaml_of("child-workflows.md"))
    run = str(here.shell("start_workflow('order', {'order': 7}).id"))
    assert here.result(run) == "parcel of 7 is shipped"
    assert _children(here, run) == [("pack", "succeeded", 1)]

    _publish(here, tmp_path, "name: wrong\ntasks:\n  - {name: call, type: workflow, workflow: pack, input: {order: seven}}\n")
    failed = str(here.shell("start_workflow('wrong', {}).id"))
    here.ended(failed)
    assert here.status(failed) == "failed"
    assert _children(here, failed) == [], "what does not fit is refused before anything begins"


@pytest.mark.promise("E15")
def test_a_cancel_and_a_pause_go_down_to_a_child_that_works(here: Fleet, tmp_path: Path) -> None:
    slow = CHILD.replace("name: pack", "name: slow").replace(
        "{name: wrap,", "{name: nap, type: sleep, duration: 2s}\n  - {name: wrap, after: [nap],"
    )
    parent = "name: above\ntasks:\n  - {name: call, type: workflow, workflow: slow, input: {order: 1}}\noutput: '{{ task.call.result }}'\n"
    _publish(here, tmp_path, slow, parent)
    run = str(here.shell("start_workflow('above', {}).id"))
    eventually(lambda: [row[1] for row in _children(here, run)] == ["waiting"], within=20, what="the child waits")
    here.shell(f"app_module.wfcelery.get_run({run!r}).pause('lunch')")
    eventually(lambda: [row[1] for row in _children(here, run)] == ["paused"], within=20, what="the child is paused")
    here.shell(f"app_module.wfcelery.get_run({run!r}).resume()")
    assert here.result(run) == "parcel of 1"

    other = str(here.shell("start_workflow('above', {}).id"))
    eventually(lambda: [row[1] for row in _children(here, other)] == ["waiting"], within=20, what="the child waits")
    here.shell(f"app_module.wfcelery.get_run({other!r}).cancel('enough')")
    here.ended(other)
    assert (here.status(other), _children(here, other)[0][1]) == ("cancelled", "cancelled")


@pytest.mark.promise("E27")
def test_a_loop_is_bounded_and_each_of_its_rounds_has_records_of_its_own(here: Fleet, tmp_path: Path) -> None:
    _publish(here, tmp_path, _yaml_of("loops.md").replace("30s", "0.1s"))
    run = str(here.shell("start_workflow('deliver', {'shipment': 'S1'}).id"))
    assert here.result(run) == "S1 after 3 rounds"
    rounds = "select s.name, s.status, s.run from wf_step s join wf_run r on r.id = s.run join wf_step p on p.id = r.parent_step"
    rows = here.query(f"{rounds} where p.run = cast(:run as uuid)", run=run)
    assert [(name, status) for name, status, _ in rows] == [("poll", "succeeded")] * 3
    assert len({own for _, _, own in rows}) == 3

    (tmp_path / "0.yaml").write_text(
        _yaml_of("loops.md").replace("30s", "0.1s").replace("100", "2").replace("name: deliver", "name: short")
    )
    _publish(here, tmp_path)
    bounded = str(here.shell("start_workflow('short', {'shipment': 'S1'}).id"))
    here.ended(bounded)
    assert here.shell(f"app_module.wfcelery.get_run({bounded!r}).status()") == "failed"
    assert [row[1] for row in _children(here, bounded)] == ["succeeded"] * 2


def test_a_run_shows_its_children_and_a_child_whose_end_was_told_is_not_tried_again(here: Fleet, tmp_path: Path) -> None:
    bad = "name: bad\ntasks:\n  - {name: no, action: wf.fail, input: {message: no paper}, retry: {count: 0}}\n"
    above = "name: stack\ntasks:\n  - {name: call, type: workflow, workflow: bad}\n"
    _publish(here, tmp_path, bad, above)
    run = str(here.shell("start_workflow('stack', {}).id"))
    here.ended(run)
    shown = json.loads(here.run("runs", "show", run, "--json"))
    [child] = next(step for step in shown["steps"] if step["name"] == "call")["children"]
    assert (child["workflow"], child["status"]) == ("bad", "failed")
    assert shown["error"]["type"] == "ChildFailed"
    assert json.loads(here.run("runs", "show", child["id"], "--json"))["parent"] == run
    assert child["id"] in here.run("runs", "show", run)
    here.run("runs", "retry", child["id"], code=4)
    [(letter,)] = here.query("select id from wf_dead_letter where run = cast(:run as uuid)", run=child["id"])
    here.run("dead", "retry", str(letter), code=4)
