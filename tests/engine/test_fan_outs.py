"""What a fan-out says beside its list: which items there are, how many must succeed, and what is asked of it on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.engine.machine import Machine
from tests.store.rows import look
from wfcelery.core import births
from wfcelery.definition.values import loads
from wfcelery.engine import executing
from wfcelery.engine.ports import Call, Outcome, Raised, Returned
from wfcelery.store.database import Database

Meanwhile = Callable[[Machine, Call], Outcome | None]


def flow(options: str, items: str = "[0, 1, 2, 3, 4, 5]") -> str:
    return f"""
name: order
tasks:
  - {{name: pack, action: pack, with_items: {items}, {options}, input: {{item: "{{{{ item }}}}", index: "{{{{ index }}}}"}}}}
  - {{name: ship, action: ship, needs: [pack], input: {{packed: "{{{{ task.pack.results }}}}", bad: "{{{{ task.pack.failed_items }}}}"}}}}
output: "{{{{ task.ship.result }}}}"
"""


def returns(machine: Machine, call: Call) -> Outcome | None:
    """An item is worth itself; what ships is worth what it was given."""
    return Returned([call.input["item"], call.input["index"]] if call.item >= 0 else call.input)


def failing(*numbers: int, then: Meanwhile = returns) -> Meanwhile:
    def fails(machine: Machine, call: Call) -> Outcome | None:
        if call.item in numbers:
            return Raised({"type": "Broken", "code": None, "message": "it is"}, final=True)
        return then(machine, call)

    return fails


def items(database: Database) -> list[str]:
    return [status for (status,) in look(database, "select status from wf_step where name = 'pack' and item >= 0 order by item")]


def worth(database: Database, machine: Machine) -> Any:
    [(output,)] = look(database, "select output from wf_run where id = :run", run=machine.run)
    return None if output is None else loads(output)


def told(database: Database) -> list[dict[str, Any]]:
    return [fact for (facts,) in look(database, "select facts from wf_history order by version") for fact in loads(facts)]


def done(database: Database, text: str, meanwhile: Meanwhile = returns, end: str = "succeeded") -> Machine:
    """A machine that has worked it off, and found nothing wrong with it."""
    machine = Machine(database, text, meanwhile)
    assert machine.work() == end
    assert not machine.problems()
    return machine


def test_what_the_filter_leaves_out_has_no_row_and_no_place(database: Database) -> None:
    machine = done(database, flow("filter: item != 1 and index != 4", "[0, 1, 2, 3, 9, 5]"))
    assert worth(database, machine)["packed"] == [[0, 0], [2, 1], [3, 2], [5, 3]]


def test_a_filter_that_leaves_nothing_is_an_empty_list(database: Database) -> None:
    machine = done(database, flow("filter: item > 9"))
    assert worth(database, machine)["packed"] == []


def test_an_item_may_be_a_batch_of_what_the_filter_leaves(database: Database) -> None:
    machine = done(database, flow("batch_size: 2, filter: item != 1"))
    assert worth(database, machine)["packed"] == [[[0, 2], 0], [[3, 4], 1], [[5], 2]]


@pytest.mark.parametrize("more", ["concurrency: 6", "concurrency: 1"])
def test_an_item_that_its_own_condition_leaves_out_is_skipped_in_its_place(database: Database, more: str) -> None:
    machine = done(database, flow(f'when: "{{{{ item not in [0, 1, 4] }}}}", {more}'))
    assert worth(database, machine)["packed"] == [None, None, [2, 2], [3, 3], None, [5, 5]]
    assert items(database) == ["skipped", "skipped", "succeeded", "succeeded", "skipped", "succeeded"]
    assert "pack[0]" not in machine.calls


def test_a_condition_that_looks_at_no_item_is_asked_once_for_the_task(database: Database) -> None:
    machine = done(database, flow('when: "{{ system.key is not none and item > 1 }}"'))
    assert look(database, "select status from wf_step where name = 'pack'") == [("skipped",)]
    assert machine.calls == {}


def test_an_items_condition_that_cannot_be_asked_fails_the_item(database: Database) -> None:
    done(database, flow('when: "{{ item.colour }}", on_error: continue'))
    assert items(database) == ["failed"] * 6


def test_as_many_failures_as_are_tolerated_stand_at_their_places(database: Database) -> None:
    machine = done(database, flow("tolerate: 2"), failing(1, 3))
    result = worth(database, machine)
    assert result["bad"] == [1, 3]
    assert [value if isinstance(value, list) else "failed" for value in result["packed"]] == [
        [0, 0],
        "failed",
        [2, 2],
        "failed",
        [4, 4],
        [5, 5],
    ]
    assert look(database, "select status from wf_dead_letter order by item") == [("handled",), ("handled",)]


def test_one_failure_more_fails_the_task_and_closes_the_others(database: Database) -> None:
    done(database, flow("tolerate: 20%, concurrency: 1"), failing(1, 3), end="failed")
    assert items(database) == ["succeeded", "failed", "succeeded", "failed", "cancelled", "cancelled"]
    assert look(database, "select item, status from wf_dead_letter order by item") == [(1, "handled"), (3, "open")]


def test_too_few_successes_fail_the_task_when_nothing_is_left(database: Database) -> None:
    machine = done(database, flow('success: 5, when: "{{ item != 0 and item != 1 }}"'), end="failed")
    [(error,)] = look(database, "select error from wf_run where id = :run", run=machine.run)
    assert loads(error) == {
        "type": "TooFewSucceeded",
        "code": "too_few_succeeded",
        "message": "4 of 6 items succeeded, 2 were skipped and 0 failed: 5 have to succeed",
        "step": "pack",
    }


def test_with_enough_the_run_goes_on_and_what_comes_later_changes_nothing(database: Database) -> None:
    seen: list[Any] = []

    def ships(machine: Machine, call: Call) -> Outcome | None:
        if call.item < 0:
            seen.append(call.input["packed"])
        return returns(machine, call)

    machine = done(database, flow("success: 2, concurrency: 1"), failing(1, 4, then=ships))
    assert items(database) == ["succeeded", "failed", "succeeded", "succeeded", "failed", "succeeded"]
    assert [seen[0][0], *seen[0][2:]] == [[0, 0], [2, 2], None, None, None]
    assert worth(database, machine)["packed"] == seen[0]
    order = [fact["fact"] for fact in told(database)]
    assert order.index("fan_out_decided") < order.index("items_succeeded", order.index("fan_out_decided"))
    assert look(database, "select item, status from wf_dead_letter order by item") == [(1, "handled"), (4, "handled")]


def test_with_enough_the_rest_can_be_cancelled(database: Database) -> None:
    machine = done(database, flow("success: 30%, cancel_rest: true, concurrency: 1"))
    assert items(database) == ["succeeded", "succeeded", *["cancelled"] * 4]
    assert worth(database, machine)["packed"] == [[0, 0], [1, 1], None, None, None, None]
    assert sum(machine.calls.values()) == 3


@pytest.mark.parametrize("more", ["concurrency: 6", "concurrency: 1"])
def test_items_that_the_last_item_adds_are_executed_too(database: Database, more: str) -> None:
    def adds(machine: Machine, call: Call) -> Outcome | None:
        if call.item == 5:
            machine.put("add_items", task="pack", items=[6, 7], by="item 5")
        return returns(machine, call)

    machine = done(database, flow(f"filter: item != 6, {more}"), adds)
    assert worth(database, machine)["packed"] == [[number, number] for number in range(6)] + [[7, 6]]


@pytest.mark.parametrize("more", ["concurrency: 2", "batch_size: 1"])
def test_items_added_to_a_long_list_follow_it(database: Database, monkeypatch: pytest.MonkeyPatch, more: str) -> None:
    monkeypatch.setattr(births, "CHUNK", 2)

    def adds(machine: Machine, call: Call) -> Outcome | None:
        if call.item == 1:
            machine.put("add_items", task="pack", items=[6, 7, 8], by=None)
        return Returned(call.item) if call.item >= 0 else returns(machine, call)

    machine = done(database, flow(more), adds)
    assert worth(database, machine)["packed"] == list(range(9))


@pytest.mark.parametrize("verb", ["add_items", "complete_items", "rerun_failed"])
def test_what_is_asked_of_a_fan_out_that_is_over_is_refused_and_said_so(database: Database, verb: str) -> None:
    machine = done(database, flow("concurrency: 2"))
    machine.put(verb, task="pack", items=[7], by="ops")
    executing.dispatch(machine.runtime, "default", machine.run)
    [refused] = [fact for fact in told(database) if fact["fact"] in ("items_refused", "retry_refused")]
    assert (refused["step"], refused["by"], bool(refused["why"])) == ("pack", "ops", True)
    assert not look(database, "select id from wf_inbox")
    assert not machine.problems()


def test_a_fan_out_can_be_ended_with_what_it_has(database: Database) -> None:
    def enough(machine: Machine, call: Call) -> Outcome | None:
        if call.item == 1:
            machine.put("complete_items", task="pack", by="ops")
        return returns(machine, call)

    machine = done(database, flow("concurrency: 1"), enough)
    assert worth(database, machine)["packed"][:2] == [[0, 0], [1, 1]]
    assert "skipped" in items(database)
    assert set(items(database)) <= {"succeeded", "skipped", "cancelled"}


@pytest.mark.parametrize("options", ["concurrency: 2", "tolerate: 1, concurrency: 2", "concurrency: 6"])
def test_failed_items_alone_run_again_and_the_run_goes_on(database: Database, options: str) -> None:
    broken = {1, 3}

    def sometimes(machine: Machine, call: Call) -> Outcome | None:
        return failing(*broken)(machine, call)

    machine = done(database, flow(options), sometimes, end="failed")
    before = dict(machine.calls)
    good = {f"pack[{number}]" for number, status in enumerate(items(database)) if status == "succeeded"}
    broken.clear()
    machine.put("rerun_failed", task="pack", by="ops")
    executing.dispatch(machine.runtime, "default", machine.run)
    assert machine.work() == "succeeded"
    assert worth(database, machine)["packed"] == [[number, number] for number in range(6)]
    assert {name: machine.calls[name] for name in good} == {name: before[name] for name in good}
    assert look(database, "select distinct status from wf_dead_letter") == [("retried",)]
    assert not machine.problems()


def test_many_failed_items_that_run_again_are_let_go_by_the_concurrency(database: Database) -> None:
    most: list[int] = []
    broken = {0, 1, 2, 3}

    def sometimes(machine: Machine, call: Call) -> Outcome | None:
        if call.item >= 0:
            [(loose,)] = look(database, "select count(*) from wf_step where item >= 0 and status in ('ready', 'running')")
            most.append(loose)
        if call.item == 4 and broken:
            broken.clear()
            machine.put("rerun_failed", task="pack", by="ops")
        return failing(*broken)(machine, call)

    eight = list(range(8))  # so that some are left when it is asked, however large the group of the fifth is
    machine = done(database, flow("tolerate: 5, concurrency: 2", items=str(eight)), sometimes)
    assert worth(database, machine)["packed"] == [[number, number] for number in eight]
    assert max(most) <= 2
    assert [machine.calls[f"pack[{number}]"] for number in eight] == [2, 2, 2, 2, 1, 1, 1, 1]
