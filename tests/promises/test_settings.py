"""The numbers of the engine, and that no two processes have to agree about them."""

from __future__ import annotations

import pytest

from tests.promises.conftest import Here
from wfcelery.settings import Settings

SPELLED = {
    "run_ahead": 1.0,
    "lease": 30.0,
    "poll": 1.0,
    "idle_poll": 10.0,
    "batch": 100,
    "ring_again": 5.0,
    "park_for": 86_400.0,
    "broker_loss": "wait",
    "dispatch_queue": None,
    "organization_id": "default",
    "input_limit": 1_048_576,
    "retention": 2_592_000.0,
    "expire_every": 60.0,
}


@pytest.mark.promise("C1")
def test_every_number_is_a_setting_with_a_default_a_unit_and_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"WFCELERY_{name.upper()}", raising=False)
    defaults = Settings.read().model_dump()
    assert {name: defaults[name] for name in SPELLED} == SPELLED
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
    numbers = [name for name, field in Settings.model_fields.items() if isinstance(field.default, float)]
    assert [name for name in numbers if "econds" not in str(Settings.model_fields[name].description)] == []
    monkeypatch.setenv("WFCELERY_POLL", "0.25")
    monkeypatch.setenv("WFCELERY_BATCH", "7")
    assert (Settings.read().poll, Settings.read({"batch": 9}).batch, Settings.read(batch=8).batch) == (0.25, 7, 8)


@pytest.mark.promise("A12")
def test_one_call_adds_the_entries_for_beat_in_fractions_of_a_second(here: Here) -> None:
    """And a second call adds nothing."""
    conf = (
        "import wfcelery\nfrom celery import Celery\nother = Celery('other', broker='memory://', set_as_current=False)\n"
        "other.conf.beat_schedule = {'mine': {'task': 'mine', 'schedule': 60.0}}\nbefore = service.context._make\n"
        "[wfcelery.install(other, poll=0.25) for _ in range(2)]\nservice.context.configure(before)\nother.conf.beat_schedule"
    )
    added = {
        "wfcelery-sweep": {"task": "wfcelery.sweep", "schedule": 0.25, "options": {"expires": 0.25}},
        "wfcelery-expire": {"task": "wfcelery.expire", "schedule": 60.0, "options": {"expires": 60.0}},
    }
    assert here.shell(f"from wfcelery import service\nimport wfcelery.service.context\n{conf}") == {
        "mine": {"task": "mine", "schedule": 60.0},
        **added,
    }


@pytest.mark.promise("B1")
def test_a_run_started_by_a_process_of_quite_other_settings_is_carried_out(here: Here) -> None:
    other = {
        "WFCELERY_RUN_AHEAD": "0",
        "WFCELERY_POLL": "7",
        "WFCELERY_LEASE": "300",
        "WFCELERY_BATCH": "1",
        "WFCELERY_DISPATCH_QUEUE": "nobody-serves-it",
        "WFCELERY_MEND_REDIS": "false",
        "WFCELERY_BROKER_LOSS": "carry_on",
    }
    run = here.script("from wfcelery import start_workflow\nprint(start_workflow(double_twice.bind(3)).id)", environment=other).split()[-1]
    assert here.result(run) == 12
    assert not {name for name in Settings.model_fields if "engine" in name or "mode" in name}
