"""Waiting for a result: told soon after the end, by few looks, each of which is one statement."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.acceptance.eventually import eventually
from tests.store.rows import started
from wfcelery.errors import NotAllowedNow, NotFound, StillRunning
from wfcelery.service import context as service
from wfcelery.service import handles, runs
from wfcelery.service.context import Context
from wfcelery.service.expecting import Expectations, Usual
from wfcelery.service.handles import Run
from wfcelery.settings import Settings
from wfcelery.store.database import Database


@pytest.fixture
def here(database: Database) -> Iterator[Context]:
    """This process's context speaks to the test's database."""
    made = Context(database, Settings())
    before = service._make
    service.configure(lambda: made)
    yield made
    service.configure(before or service.from_environment)


class Clock:
    """Time that passes in sleeps alone, and a run that ends at some moment of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ends: float) -> None:
        self.now, self.begins, self.looks, self._starts, self._ends = 1000.0, 0.0, list[float](), 1000.0, 1000.0 + ends
        monkeypatch.setattr(handles, "monotonic", lambda: self.now)
        monkeypatch.setattr(handles, "sleep", self._sleep)
        monkeypatch.setattr(handles.runs, "outcome_of", lambda context, run: self._look())
        monkeypatch.setattr(handles, "current", lambda: None)
        monkeypatch.setattr(handles, "_expected", Expectations())

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def _look(self) -> runs.Outcome:
        self.looks.append(self.now)
        status = "pending" if self.now < self.begins else "running" if self.now < self._ends else "succeeded"
        return runs.Outcome("order", status, "1", None, None, min(self.now, self._ends) - self._starts)

    def ends_in(self, seconds: float) -> None:
        """Another run, asked for from now on."""
        self._starts, self._ends = self.now, self.now + seconds
        self.looks.clear()

    @property
    def late(self) -> float:
        return self.now - self._ends


@pytest.mark.parametrize(("seconds", "looks"), [(0.0, 1), (0.01, 12), (0.1, 40), (1.0, 65), (60.0, 320)])
def test_who_waits_is_told_a_tenth_later_at_most_and_looks_ever_more_rarely(
    monkeypatch: pytest.MonkeyPatch, seconds: float, looks: int
) -> None:
    clock = Clock(monkeypatch, seconds)
    assert Run(str(uuid4())).result() == 1
    assert 0 <= clock.late <= max(0.001, seconds / 10)
    assert len(clock.looks) <= looks


def test_a_run_that_nobody_has_begun_is_looked_at_half_as_often(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, 0.0095)
    clock.begins = clock.now + 0.0075
    assert Run(str(uuid4())).result() == 1
    assert [round(1000 * (look - 1000)) for look in clock.looks] == [0, 2, 4, 6, 8, 9, 10]


def test_who_knows_how_long_the_runs_of_a_workflow_take_looks_seldom_before_and_often_about_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, 0.0120)
    Run(str(uuid4())).result()
    first, late = len(clock.looks), list[float]()
    for run in range(40):
        clock.ends_in(0.0118 if run % 2 else 0.0122)
        Run(str(uuid4())).result()
        late.append(clock.late)
    assert len(clock.looks) <= 5 < first
    assert max(late[-10:]) <= 0.0004


def test_runs_that_are_over_sooner_by_far_are_waited_for_in_vain_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue is gone: what the runs took behind it says nothing any more."""
    clock = Clock(monkeypatch, 0.8)
    for _ in range(20):
        clock.ends_in(0.8)
        Run(str(uuid4())).result()
    late = list[float]()
    for _ in range(3):
        clock.ends_in(0.012)
        Run(str(uuid4())).result()
        late.append(clock.late)
    assert late[0] <= 0.02
    assert max(late[1:]) <= 0.0015


def test_who_waits_for_many_runs_in_turn_looks_seldom_at_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """All were started at once, and one ends eight milliseconds after the other."""
    clock, late = Clock(monkeypatch, 0.1), list[float]()
    for number in range(100):
        clock._ends = 1000.1 + 0.008 * number
        Run(str(uuid4())).result()
        late.append(clock.late)
    assert len(clock.looks) <= 500, "five for each, where a tenth of the time waited means nine"
    assert max(late) <= 0.02


def test_a_workflow_whose_runs_differ_widely_is_looked_at_as_if_nothing_were_known(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, 1.0)
    Run(str(uuid4())).result()
    first = len(clock.looks)
    for seconds in (0.1, 3.0, 0.2, 2.0, 1.0):
        clock.ends_in(seconds)
        Run(str(uuid4())).result()
        assert clock.late <= max(0.02, seconds / 10)
    assert len(clock.looks) <= first


def test_mean_and_deviation_are_those_of_a_retransmission_timer() -> None:
    """The example of a first measurement and a second one after RFC 6298."""
    usual = Usual(0.1, 0.05)
    usual.learn(0.2)
    assert (usual.mean, usual.deviation) == (pytest.approx(0.1125), pytest.approx(0.0625))


def test_only_so_many_workflows_are_remembered() -> None:
    known = Expectations()
    for number in range(1001):
        known.learn(f"order-{number}", 5.0, 0.0)
    pauses = [known.pause(f"order-{number}", age=4.9, waited=4.9, begun=True) for number in (0, 1000)]
    assert pauses == [0.25, 0.25]
    assert len(known._usual) == 1000


@pytest.mark.parametrize("before", [0.01, 1.0, 3600.0])
def test_who_expects_too_much_is_told_a_fiftieth_of_a_second_late(monkeypatch: pytest.MonkeyPatch, before: float) -> None:
    clock = Clock(monkeypatch, before)
    Run(str(uuid4())).result()
    clock.ends_in(0.001)
    Run(str(uuid4())).result()
    assert clock.late <= 0.02


def test_nobody_looks_more_often_than_each_hundredth_of_the_time_that_the_run_has_taken() -> None:
    known = Expectations()
    known.learn("order", 1.0, 0.004)
    pauses = {age: known.pause("order", age=age, waited=0.0, begun=True) for age in (0.01, 0.99, 2.0, 3600.0)}
    assert all(age * 0.01 <= pause <= 0.25 for age, pause in pauses.items() if age < 25)
    assert pauses[3600.0] == 0.25


def test_patience_ends_on_time_and_none_is_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, 100.0)
    with pytest.raises(StillRunning):
        Run(str(uuid4())).result(timeout=3)
    assert clock.now == pytest.approx(1003.0)
    clock.looks.clear()
    with pytest.raises(StillRunning):
        Run(str(uuid4())).result(timeout=0)
    assert len(clock.looks) == 1


def test_a_look_begins_no_transaction_and_waits_for_no_writer(here: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """On SQLite a transaction of ours would be a writer's."""
    run = started(here.database)
    with here.database.transaction(), monkeypatch.context() as patched:
        patched.setattr(Database, "transaction", None)
        assert Run(str(run)).status() == "pending"
        assert runs.outcome_of(here, uuid4()) is None


def test_what_does_not_exist_is_said_at_once(here: Context) -> None:
    run = Run(str(uuid4()))
    with pytest.raises(NotAllowedNow, match="not committed yet"):
        run.result(timeout=60)
    with pytest.raises(NotFound):
        run.status()


def test_a_look_by_a_connection_that_died_in_the_pool_is_made_by_another(postgres: Database) -> None:
    run = started(postgres)
    here = Context(postgres, Settings())
    assert runs.status_of(here, run).status == "pending"
    _end_idle_sessions(postgres)
    assert runs.status_of(here, run).status == "pending"


def _end_idle_sessions(database: Database) -> None:
    engine = database.apart()
    idle = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and backend_type = 'client backend'"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"select pg_terminate_backend(pid) {idle}")
        eventually(lambda: connection.exec_driver_sql(f"select count(*) {idle}").scalar() == 0)
    engine.dispose()
