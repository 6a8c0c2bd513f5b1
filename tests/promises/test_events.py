"""Events through a real worker: everybody down across a deadline, one run alone, and a workflow that an event starts."""

from __future__ import annotations

import pytest

from tests.acceptance.eventually import eventually
from tests.promises.conftest import Here

WAITS = """
name: patient
parameters: {key: {type: string, required: true}}
tasks:
  - {name: paid, type: wait, event: payment, key: "{{ parameters.key }}", timeout: 6s}
  - {name: twice, action: $app.double, needs: [paid], input: {number: "{{ task.paid.result }}"}}
  - {name: late, action: $app.double, after: {paid: timed_out}, input: {number: 50}}
output: "{{ either(task.twice.result, task.late.result) }}"
"""
STARTS = """
name: placed
parameters: {number: {type: integer, required: true}}
triggers:
  - {event: order.placed, when: "{{ event.data.number > 5 }}", input: {number: "{{ event.data.number }}"}, key: "{{ event.key }}"}
tasks:
  - {name: twice, action: $app.double, input: {number: "{{ parameters.number }}"}}
output: "{{ task.twice.result }}"
"""


@pytest.mark.promise("C26")
def test_with_every_process_down_across_a_deadline_the_event_that_came_before_it_wins(alone: Here) -> None:
    alone.publish(WAITS)
    worker = alone.database_worker(pool="threads", concurrency=2)
    alone.ready(worker)
    before, after = (alone.named("patient", {"key": key}) for key in ("before", "after"))
    eventually(lambda: alone.query("select count(*) from wf_wait where status = 'open' and kind = 'event'") == [(2,)], within=20)
    worker.stop()
    alone.shell("import wfcelery\nwfcelery.send_event('payment', 4, key='before')")
    over = "select count(*) from wf_wait where due_at < (julianday('now') - 2440587.5) * 86400.0 - 1"
    eventually(lambda: alone.query(over) == [(2,)], within=20, what="both deadlines are over by a second")
    alone.shell("import wfcelery\nwfcelery.send_event('payment', 5, key='after')")
    alone.late_worker()
    assert (alone.result(before), alone.result(after)) == (8, 100)
    assert alone.query("select key, status from wf_event order by at") == [("before", "consumed"), ("after", "stored")]


def test_an_event_starts_a_workflow_and_wakes_another_at_once(here: Here) -> None:
    here.publish(STARTS)
    here.shell("import wfcelery\nwfcelery.send_event('order.placed', {'number': 3}, key='small')")
    here.shell("import wfcelery\nwfcelery.send_event('order.placed', {'number': 7}, key='large')")
    run = eventually(lambda: here.shell("get_run('large').id"), within=20)
    assert here.result(str(run)) == 14
    assert here.query("select count(*) from wf_run where workflow = 'placed'") == [(1,)]
    here.publish(WAITS)
    run = here.named("patient", {"key": "now"})
    eventually(lambda: here.steps(str(run)) == {"paid": "waiting"}, within=20)
    here.shell(f"get_run({run!r}).send_event('payment', 11)")
    assert here.result(str(run)) == 22
