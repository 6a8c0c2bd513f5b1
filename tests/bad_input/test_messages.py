"""What comes over the broker: ids or nothing. The worst that a forged message can do is a second look at what is due anyway."""

from __future__ import annotations

import base64
import logging
import pickle
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kombu.exceptions import ContentDisallowed
from kombu.message import Message

from tests.bad_input.rows import everything
from tests.engine.machine import Machine
from tests.store.rows import look
from tests.unit.worker.test_calling import House
from wfcelery.engine.ports import Call, Outcome
from wfcelery.engine.process import Process
from wfcelery.store.database import Database
from wfcelery.worker.messages import DISPATCH, EXPIRE, STEP, SWEEP, VERSION
from wfcelery.worker.tasks import Postman, Received

CANARY = "canary-7f3a"
CHAIN = """
name: chain
tasks:
  - {name: a, action: shop.a}
  - {name: b, action: shop.b, after: [a]}
"""


class Office:
    """A worker's post over the real engine, and a run with a step that waits to be executed."""

    def __init__(self, database: Database) -> None:
        self.machine = Machine(database, CHAIN, self._executed)
        self.machine.keeps = False
        self.process = Process(self.machine.runtime, "here", lambda process: True)
        self.received = Received()
        self.house = House()
        self.postman = Postman(lambda: self.process, lambda: False, self.received, self.house.installation.events, lambda: None)
        self.run = self.machine.run
        self.process.dispatch("default", self.run)
        self.machine.rings.clear()
        [(self.step,)] = look(database, "select id from wf_step where run = :run and name = 'a'", run=self.run)
        self.step = UUID(str(self.step))
        self.executed: list[str] = []

    def _executed(self, machine: Machine, call: Call) -> Outcome | None:
        self.executed.append(call.name)
        return None

    def body(self, **changed: Any) -> dict[str, Any]:
        true = {"v": VERSION, "ns": self.process.ns(), "org": "default", "run": str(self.run), "step": str(self.step)}
        return {name: value for name, value in {**true, **changed}.items() if value is not ...}


@pytest.fixture
def office(database: Database) -> Office:
    return Office(database)


@pytest.fixture
def sqlite_office(sqlite_database: Database) -> Office:
    return Office(sqlite_database)


HUGE = "x" * 10_000_000
FORGED: dict[str, dict[str, Any]] = {
    "of another database": {"ns": "elsewhere"},
    "of no database": {"ns": ...},
    "with a number for a database": {"ns": 5},
    "with a huge database": {"ns": HUGE},
    "of another organization": {"org": "acme"},
    "of no organization": {"org": ...},
    "of an empty organization": {"org": ""},
    "of organizations": {"org": ["default"]},
    "of an organization that holds a NUL": {"org": "\x00"},
    "of an organization that is no text": {"org": "\ud800"},
    "of a version to come": {"v": VERSION + 1},
    "of no version": {"v": ...},
    "with a version in words": {"v": "1"},
    "without a run": {"run": ...},
    "with a run in words": {"run": "the first one"},
    "with a number for a run": {"run": 5},
    "with a dict for a run": {"run": {"id": 1}},
    "with a huge run": {"run": HUGE},
    "with SQL for a run": {"run": "' or 1=1 --"},
    "of a run that is not there": {"run": str(UUID(int=1)), "step": str(UUID(int=2))},
}


@pytest.mark.promise("A18", "D16")
def test_a_forged_message_changes_no_row_and_executes_nothing(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """S3, S5, S18: neither as a step nor as a dispatch, and the log quotes next to nothing of it."""
    caplog.set_level(logging.DEBUG)
    before = everything(office.machine.database)
    for name, changed in FORGED.items():
        for task in (STEP, DISPATCH):
            office.postman.deliver(task, office.body(**changed))
            assert (name, task, office.executed) == (name, task, [])
    assert everything(office.machine.database) == before
    assert HUGE[:200] not in caplog.text
    assert office.received.foreign == 4
    of_others = [name for name, changed in FORGED.items() if isinstance(changed.get("org"), str)]
    assert office.process.refused + office.received.failed == 2 * len(of_others), "as a step and as a dispatch, each is counted"
    assert office.received.malformed + office.received.failed + office.process.refused > len(FORGED)


def test_a_step_of_another_run_or_of_none_is_executed_as_what_it_is_or_not_at_all(office: Office) -> None:
    """S3: the run that a message names beside a step gives it no power over the step."""
    before = everything(office.machine.database)
    for changed in ({"step": ...}, {"step": None}, {"step": "a"}, {"step": 5}, {"step": str(office.run)}, {"step": str(UUID(int=9))}):
        office.postman.deliver(STEP, office.body(**changed))
    assert office.executed == []
    assert everything(office.machine.database) == before


def test_a_true_message_twice_and_under_another_name_executes_once(office: Office) -> None:
    """S2, S3: a message that is repeated, or published again under another task's name, is a second look at nothing."""
    for task in (DISPATCH, STEP, STEP, DISPATCH, SWEEP, EXPIRE):
        office.postman.deliver(task, office.body())
    assert office.executed == ["a"]
    assert office.machine.problems() == []


@pytest.mark.promise("A16")
def test_what_a_message_carries_beside_the_ids_reaches_nothing(office: Office) -> None:
    """S5: extra keys, tokens and whole inputs in a message are read by nobody."""
    more = {
        "token": CANARY,
        "user": {"jwt": CANARY},
        "input": {"x": CANARY},
        "status": "succeeded",
        "action": "os.system",
        "args": [CANARY],
    }
    office.postman.deliver(STEP, office.body(**more))
    assert office.executed == ["a"]
    assert CANARY not in repr(everything(office.machine.database))


values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.uuids().map(str)
    | st.lists(st.text(max_size=3), max_size=2)
)
bodies = st.dictionaries(st.sampled_from(["v", "ns", "org", "run", "step", "task", "id"]) | st.text(max_size=5), values, max_size=6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(task=st.sampled_from([STEP, DISPATCH]), body=bodies, true=st.sets(st.sampled_from(["v", "ns", "org", "run", "step"]), max_size=4))
def test_any_body_that_is_not_all_true_changes_no_row(sqlite_office: Office, task: str, body: dict[str, Any], true: set[str]) -> None:
    """S3, S5."""
    mine = sqlite_office.body()
    if "step" in true and "org" in true:
        true = true - {"step"}
    before = everything(sqlite_office.machine.database)
    sqlite_office.postman.deliver(task, {**body, **{name: mine[name] for name in true}})
    assert sqlite_office.executed == []
    assert everything(sqlite_office.machine.database) == before


class Touch:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("content_type", ["application/x-python-serialize", "application/x-yaml"])
def test_a_body_that_is_not_json_is_never_opened(content_type: str, tmp_path: Path) -> None:
    """S1: an app that says nothing of what it accepts takes JSON alone, with our tasks in it as without."""
    proof = tmp_path / "touched"
    body = base64.b64encode(pickle.dumps(Touch(proof)))
    accept = House().app.conf.accept_content
    message = Message(body, content_type=content_type, content_encoding="base64", accept=set(accept))
    with pytest.raises((ContentDisallowed, ValueError)):
        message.decode()
    assert not proof.exists()


def test_our_messages_name_four_tasks_and_nothing_of_celery_that_runs_others(office: Office) -> None:
    """S4: no message of ours leads to celery.chain, celery.chord or any other task; what is called is read from the row."""
    office.postman.deliver("celery.chord_unlock", office.body(step=..., run=...))
    office.postman.deliver(STEP, office.body(task="celery.backend_cleanup"))
    assert office.executed == ["a"]
