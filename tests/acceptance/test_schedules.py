"""Schedules with whole processes: without beat, with three of them, and with everything that sweeps killed."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tests.acceptance.eventually import eventually, never
from tests.acceptance.processes import Fleet

EACH_SECOND = "from wfcelery import schedule\nschedule('each-second', chain.bind('a'), every='1s', overlap='allow').name"
SECOND = timedelta(seconds=1)


def slots(fleet: Fleet, status: str = "%") -> list[datetime]:
    """The slots that have a run, as their keys say them; one for each run."""
    rows = fleet.query("select key from wf_run where key like 'schedule:%' and status like :status order by key", status=status)
    return [datetime.fromisoformat(key.removeprefix("schedule:each-second:")) for (key,) in rows]


def each_once(found: list[datetime]) -> bool:
    """One run for each second, and no second without."""
    return found == [found[0] + number * SECOND for number in range(len(found))]


@pytest.mark.promise("D15")
def test_without_beat_slots_are_started_by_the_workers_each_once_and_in_time(fleet: Fleet) -> None:
    fleet.ready(fleet.worker("one"), fleet.worker("two", pool="threads"))
    fleet.shell(EACH_SECOND)
    eventually(lambda: len(slots(fleet, "succeeded")) >= 6, what="six slots have run")
    fleet.shell("from wfcelery import get_schedule\nstr(get_schedule('each-second').pause('enough'))")
    found = slots(fleet)
    assert each_once(found)
    late = "select max(extract(epoch from created_at - cast(replace(key, 'schedule:each-second:', '') as timestamptz))) from wf_run"
    assert fleet.query(late)[0][0] < 1
    assert fleet.query("select started, skipped, missed from wf_schedule") == [(len(found), 0, 0)]
    eventually(lambda: slots(fleet, "succeeded") == found)
    assert slots(fleet) == found, "a paused schedule starts nothing"
    assert fleet.effects.repeated() == {}
    assert fleet.faults() == {}


@pytest.mark.promise("D15", "A14")
def test_with_three_beats_and_three_workers_each_slot_is_started_once(fleet: Fleet) -> None:
    quick = {"WFCELERY_POLL": "0.2", "WFCELERY_IDLE_POLL": "0.2"}
    workers = [fleet.worker(f"worker-{number}", pool="threads", environment=quick) for number in range(3)]
    fleet.ready(*workers, *(fleet.beat(f"beat-{number}", environment=quick) for number in range(3)))
    fleet.shell(EACH_SECOND)
    eventually(lambda: len(slots(fleet, "succeeded")) >= 8, what="eight slots have run")
    assert each_once(slots(fleet))
    [(recent,)] = fleet.query("select recent from wf_schedule")
    assert recent.count('"fate":"started"') <= len(slots(fleet))
    assert fleet.effects.repeated() == {}
    assert fleet.faults() == {}


@pytest.mark.promise("D15")
def test_slots_of_an_outage_are_made_up_for_each_once(fleet: Fleet) -> None:
    worker = fleet.worker()
    fleet.ready(worker)
    fleet.shell(EACH_SECOND)
    eventually(lambda: len(slots(fleet)) >= 2)
    worker.kill_all()
    before = slots(fleet)
    never(lambda: slots(fleet) != before, during=3, what="a slot without anybody")
    worker.start().wait_ready()
    eventually(lambda: len(slots(fleet, "succeeded")) >= len(before) + 4)
    assert each_once(slots(fleet))
    assert fleet.query("select missed from wf_schedule") == [(0,)]
