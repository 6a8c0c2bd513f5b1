"""Events from outside and the waits that they meet, on both databases: who takes which, in which order, and by whose time."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from tests.engine.outside import Outside
from tests.store.rows import change, look
from wfcelery.core.decision import RingRun
from wfcelery.errors import InvalidInput, NotAllowedNow, NotFound
from wfcelery.service import sending
from wfcelery.service.expiring import expire
from wfcelery.store import events
from wfcelery.store.database import Database

PAID = """
name: order
parameters: {order: {type: integer, default: 7}}
tasks:
  - {name: paid, type: wait, event: payment, key: "{{ parameters.order }}", timeout: 1h}
  - {name: ship, action: ship, needs: [paid], input: {amount: "{{ task.paid.result.amount }}"}}
  - {name: remind, action: remind, after: {paid: timed_out}}
"""
ANY = """
name: order
tasks:
  - {name: paid, type: wait, event: payment, $more}
  - {name: ship, action: ship, after: paid}
"""


def asking(more: str) -> str:
    return ANY.replace("$more", more)


@pytest.mark.promise("B14")
def test_an_event_meets_the_wait_of_its_name_and_key_and_is_worth_its_data(database: Database) -> None:
    machine = Outside(database, PAID)
    other = machine.another(order=8)
    assert machine.status() == "waiting"
    event = machine.send("payment", {"amount": 5}, key="7", actor="shop")
    machine.answer()
    assert (machine.status(), machine.worth("paid"), machine.event(event)) == ("succeeded", {"amount": 5}, "consumed")
    assert machine.steps() == {"paid": "succeeded", "ship": "succeeded", "remind": "skipped"}
    assert machine.steps(other) == {"paid": "waiting"}
    assert look(database, "select status, outcome from wf_wait where run = :run", run=machine.run) == [("met", "event")]
    assert not machine.problems()


@pytest.mark.promise("C14")
def test_an_event_that_comes_first_is_kept_for_the_wait_that_opens_later(database: Database) -> None:
    machine = Outside(database, PAID)
    early = machine.send("payment", {"amount": 9}, key="8")
    machine.settle()
    assert machine.event(early) == "stored"
    later = machine.another(order=8)
    assert machine.event(early) == "consumed"
    assert machine.worth("paid", later) == {"amount": 9}


def test_an_event_that_comes_before_a_wait_that_keeps_nothing_is_not_heard(database: Database) -> None:
    machine = Outside(database, asking("keep: false"))
    machine.send("payment", 0)
    machine.answer()
    before = machine.send("payment", 1)
    run = machine.another()
    machine.settle()
    assert machine.steps(run) == {"paid": "waiting"}
    machine.send("payment", 2)
    machine.answer()
    assert (machine.worth("paid", run), machine.event(before)) == (2, "stored")


@pytest.mark.promise("C27")
def test_the_oldest_wait_gets_the_oldest_event_and_each_event_counts_once(database: Database) -> None:
    machine = Outside(database, asking("timeout: 1h"))
    runs = [machine.run, machine.another(), machine.another()]
    sent = [machine.send("payment", number) for number in range(4)]
    machine.settle()
    assert [machine.worth("paid", run) for run in runs] == [0, 1, 2]
    assert [machine.event(event) for event in sent] == ["consumed"] * 3 + ["stored"]
    assert machine.worth("paid", machine.another()) == 3


def test_an_event_for_one_run_is_heard_by_no_other(database: Database) -> None:
    machine = Outside(database, PAID)
    other = machine.another(order=7)
    machine.send("payment", {"amount": 1}, run=str(other))
    machine.settle()
    assert (machine.steps()["paid"], machine.steps(other)["paid"]) == ("waiting", "succeeded")
    with pytest.raises(NotAllowedNow, match="succeeded"):
        machine.send("payment", {"amount": 1}, run=str(other))
    with pytest.raises(NotFound):
        machine.send("payment", {"amount": 1}, run="nobody")


def test_an_event_for_everyone_meets_every_wait_that_is_open_and_none_that_opens_later(database: Database) -> None:
    machine = Outside(database, PAID)
    runs = [machine.run, machine.another(order=8), machine.another(order=9)]
    event = machine.send("payment", {"amount": 1}, everyone=True)
    late = machine.another(order=10)
    machine.settle()
    assert [machine.steps(run)["paid"] for run in runs] == ["succeeded"] * 3
    assert (machine.event(event), machine.steps(late)["paid"]) == ("sent", "waiting")


def test_what_is_sent_twice_with_one_dedup_key_counts_once(database: Database) -> None:
    machine = Outside(database, asking("timeout: 1h"))
    other = machine.another()
    first = machine.send("payment", 1, dedup="evt-1")
    assert machine.send("payment", 1, dedup="evt-1") == first
    machine.settle()
    assert machine.send("payment", 1, dedup="evt-1") == first
    machine.settle()
    assert (machine.worth("paid"), machine.steps(other)["paid"]) == (1, "waiting")


def test_an_event_that_does_not_fit_is_refused_and_recorded_and_the_wait_goes_on(database: Database) -> None:
    wanted = "{type: object, required: [amount], properties: {amount: {type: number}}}"
    machine = Outside(database, asking(f"data: {wanted}"))
    bad, good = machine.send("payment", {"amount": "much"}), machine.send("payment", {"amount": 3})
    machine.settle()
    assert (machine.event(bad), machine.event(good)) == ("refused", "consumed")
    assert machine.worth("paid") == {"amount": 3}
    told = str(look(database, "select facts from wf_history where run = :run", run=machine.run))
    assert "event_refused" in told
    assert "data.amount: it is of type number, not string" in told
    assert "much" not in told
    assert not machine.problems()


@pytest.mark.promise("D18")
def test_an_event_by_somebody_without_the_role_is_recorded_and_moves_nothing(database: Database) -> None:
    machine = Outside(database, asking("roles: [manager, cfo]"))
    for role in ("clerk", None):
        refused = machine.send("payment", 1, actor="ann", role=role)
        machine.settle()
        assert (machine.event(refused), machine.steps()["paid"]) == ("refused", "waiting")
    [(why, actor)] = look(database, "select why, actor from wf_event where role = 'clerk'")
    assert (why, actor) == ("it takes the role of cfo or manager, not clerk", "ann")
    machine.send("payment", 2, actor="bob", role="manager")
    machine.settle()
    assert machine.worth("paid") == 2


# ---- times --------------------------------------------------------------------------------------------------------------


@pytest.mark.promise("C26")
@pytest.mark.parametrize(("earlier", "wins"), [(1.0, True), (-1.0, False)], ids=["a second before", "a second after"])
@pytest.mark.parametrize("led", [True, False], ids=["in the inbox", "stored"])
def test_of_an_event_and_a_deadline_the_earlier_counts_whoever_is_looked_at_first(
    database: Database, earlier: float, wins: bool, led: bool
) -> None:
    """Every process was down across both: their times stand in the rows, and are looked at together afterwards."""
    machine = Outside(database, PAID)
    event = machine.send("payment", {"amount": 5}, key="7")
    machine.rings.clear()
    if not led:
        change(database, "delete from wf_inbox")
    machine.shift("wf_wait", machine.step_id("paid"), "due_at", -7200.0)
    machine.shift("wf_event", event, "at", -3600.0 - earlier)
    machine.shift("wf_wait", machine.step_id("paid"), "opened_at", -7200.0)
    machine.settle()
    assert machine.steps()["paid"] == ("succeeded" if wins else "timed_out")
    assert machine.event(event) == ("consumed" if wins else "stored")
    assert machine.steps()["ship" if wins else "remind"] == "succeeded"
    assert not machine.problems()


@pytest.mark.promise("C9", "C25")
@pytest.mark.parametrize("timer", ["paid", "rest"], ids=["a deadline", "a sleep"])
def test_a_cancel_beats_the_timer_and_the_event_that_wait_beside_it(database: Database, timer: str) -> None:
    text = PAID + "  - {name: rest, type: sleep, duration: 1h}\n  - {name: wake, action: wake, after: rest}\n"
    machine = Outside(database, text)
    event = machine.send("payment", {"amount": 5}, key="7")
    machine.shift("wf_wait", machine.step_id(timer), "due_at", -7200.0)
    machine.put("cancel", reason="enough")
    machine.rings.clear()
    machine.settle()
    if machine.status() != "cancelled":  # its row is looked at when it is an interval old
        change(database, "update wf_inbox set ring_at = at")
        machine.settle()
    assert machine.status() == "cancelled"
    assert machine.steps() == {"paid": "cancelled", "rest": "cancelled"} | dict.fromkeys(("ship", "remind", "wake"), "skipped") or not (
        {"ship", "remind", "wake"} & {name for name, status in machine.steps().items() if status == "succeeded"}
    )
    assert not machine.calls
    assert machine.event(event) == "stored"
    assert not machine.problems()


@pytest.mark.promise("C22")
def test_with_events_switched_off_nothing_is_woken_and_nothing_is_lost(database: Database) -> None:
    machine = Outside(database, PAID)
    plain = machine.runtime.settings
    machine.runtime.settings = machine.context.settings = plain.model_copy(update={"events": False})
    event = machine.send("payment", {"amount": 5}, key="7")
    change(database, "update wf_event set match_at = at")
    machine.sweep()
    machine.answer()
    assert (machine.event(event), machine.steps()["paid"]) == ("stored", "waiting")
    machine.runtime.settings = machine.context.settings = plain
    machine.settle()
    assert (machine.event(event), machine.steps()["paid"]) == ("consumed", "succeeded")


# ---- what is sent while something opens, and who dies between ---------------------------------------------------------------


@pytest.mark.parametrize("who", ["wf_event", "wf_wait"])
def test_a_sweep_leads_together_what_was_written_at_the_same_time(database: Database, who: str) -> None:
    """Neither has seen the other, as where both commit at once: either row's second look is enough."""
    machine = Outside(database, PAID)
    event = machine.send("payment", {"amount": 5}, key="7")
    machine.rings.clear()
    change(database, "delete from wf_inbox")
    change(database, f"update {'wf_wait' if who == 'wf_event' else 'wf_event'} set match_at = null")
    change(database, f"update {who} set match_at = {'at' if who == 'wf_event' else 'opened_at'}")
    machine.settle()
    assert (machine.event(event), machine.steps()["paid"]) == ("consumed", "succeeded")


class Died(Exception):
    """A process that goes no further."""


@pytest.mark.promise("C15")
def test_a_crash_at_any_statement_leaves_the_event_unconsumed_or_its_run_moved(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = 0
    while True:
        machine = Outside(database, PAID, order=cut)
        event = machine.send("payment", {"amount": cut}, key=str(cut))
        with monkeypatch.context() as patched:
            fell = _die_at(patched, machine, cut)
        assert machine.event(event) == ("consumed" if machine.steps()["paid"] == "succeeded" else "stored")
        if not fell:
            break
        machine.settle()
        change(database, "update wf_inbox set ring_at = at")
        machine.settle()
        assert (machine.event(event), machine.worth("paid")) == ("consumed", {"amount": cut})
        told = str(look(database, "select facts from wf_history where run = :run", run=machine.run))
        assert told.count('"wait_met"') == 1
        cut += 1
    assert cut > 5


def _die_at(patched: pytest.MonkeyPatch, machine: Outside, cut: int) -> bool:
    """Drain, and die instead of the statement of this number; whether there were so many."""
    said, plain = [0], type_of_tx(machine.database).execute

    def execute(tx: Any, *given: Any) -> Any:
        said[0] += 1
        if said[0] == cut + 1:
            raise Died
        return plain(tx, *given)

    patched.setattr(type_of_tx(machine.database), "execute", execute)
    try:
        machine.answer()
    except Died:
        machine.rings.clear()
        return True
    return False


def type_of_tx(database: Database) -> Any:
    with database.transaction() as tx:
        return type(tx)


@pytest.mark.promise("C3")
def test_sending_rings_after_the_commit_and_a_lost_ring_costs_one_interval(database: Database) -> None:
    machine = Outside(database, PAID)
    machine.send("payment", {"amount": 5}, key="7")
    assert machine.rings == [RingRun("default", machine.run, None)]
    machine.rings.clear()
    change(database, "update wf_inbox set ring_at = at")  # an interval later
    machine.settle()
    assert machine.steps()["paid"] == "succeeded"


@pytest.mark.promise("C6")
def test_a_burst_of_events_for_one_run_rings_once_and_loses_none(database: Database) -> None:
    machine = Outside(database, PAID)
    sent = [machine.send("payment", {"amount": number}, key="7") for number in range(300)]
    assert len(machine.rings) == 1
    machine.settle()
    assert machine.worth("paid") == {"amount": 0}
    stored = look(database, "select count(*) from wf_event where status = 'stored'")
    assert (stored, machine.event(sent[1])) == ([(299,)], "stored")


@pytest.mark.promise("C8")
def test_consumed_events_are_deleted_after_a_day_and_others_never(database: Database) -> None:

    machine = Outside(database, PAID)
    consumed, kept = machine.send("payment", {"amount": 5}, key="7"), machine.send("payment", 1, key="nobody")
    machine.settle()
    assert expire(machine.context).events == 0
    machine.shift("wf_event", consumed, "consumed_at", -90_000.0)
    machine.shift("wf_event", kept, "at", -9e6)
    assert expire(machine.context).events == 1
    assert look(database, "select status from wf_event") == [("stored",)]


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"name": ""}, "name: it is empty"),
        ({"name": "x", "key": ""}, "key: it is empty"),
        ({"name": "x", "key": "a\0b"}, "key: it holds a NUL"),
        ({"name": "x", "run": "abc", "everyone": True}, "everyone: an event for one run is not for all"),
        ({"name": "x", "data": object()}, "data: "),
        ({"name": "x", "data": "a" * 2_000_000}, "data: it has 2000002 bytes"),
    ],
)
def test_what_cannot_be_meant_is_told_before_anything_is_written(sqlite: Database, wish: dict[str, Any], said: str) -> None:
    machine = Outside(sqlite, PAID)
    with pytest.raises(InvalidInput, match=said):
        machine.send(**wish)
    assert not look(sqlite, "select id from wf_event")


def test_a_step_that_is_tried_again_sends_its_event_once(database: Database) -> None:
    machine = Outside(database, PAID)
    with database.transaction() as tx:
        new = events.NewEvent(UUID(int=1), "default", "payment", "7", "null", dedup="step-1")
        assert events.insert(tx, new) == UUID(int=1)
    assert machine.send("payment", key="7", dedup="step-1") == UUID(int=1)


@pytest.mark.parametrize("status", ["consumed", "refused"])
def test_an_event_that_was_consumed_can_be_stored_again(database: Database, status: str) -> None:

    machine = Outside(database, asking("roles: [boss]" if status == "refused" else "timeout: 1h"))
    event = machine.send("payment", 4)
    machine.settle()
    assert machine.event(event) == status
    other = machine.another()
    sending.requeue(machine.context, event, "ann")
    change(database, "update wf_event set role = 'boss'")
    machine.settle()
    assert machine.event(event) == "consumed"
    assert "succeeded" in (machine.steps(other)["paid"], machine.steps()["paid"])
    with pytest.raises(NotFound):
        sending.requeue(machine.context, UUID(int=5))


# ---- both at once, on a database where neither sees the other --------------------------------------------------------------


def test_a_wait_that_opens_while_its_event_is_being_sent_is_met_by_the_second_look(postgres: Database) -> None:
    """The sender has looked and not committed; the run has opened its wait, looked and committed: neither has seen the other."""
    machine = Outside(postgres, PAID)
    engine = sa.create_engine(postgres.url)
    with engine.connect() as connection:
        sender = connection.begin()
        event = sending.send(machine.context, sending.Wish("payment", {"amount": 5}, "8"), {"connection": connection})
        run = machine.another(order=8)
        sender.commit()
    engine.dispose()
    assert (machine.steps(run)["paid"], look(postgres, "select id from wf_inbox")) == ("waiting", [])
    change(postgres, "update wf_event set match_at = at")  # a second later
    machine.settle()
    assert (machine.steps(run)["paid"], machine.event(event)) == ("succeeded", "consumed")


def test_an_event_that_is_sent_while_its_wait_is_being_opened_is_met_by_the_second_look(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run has opened its wait, looked and not committed; the sender has looked and committed."""
    machine, plain, sent = Outside(postgres, PAID), events.lead_to, list[UUID]()

    def look_and_let_others(tx: Any, *given: Any) -> bool:
        found = plain(tx, *given)
        if not sent:
            sent.append(machine.send("payment", {"amount": 5}, key="8"))
        return found

    monkeypatch.setattr(events, "lead_to", look_and_let_others)
    run = machine.another(order=8)
    assert (machine.steps(run)["paid"], look(postgres, "select id from wf_inbox")) == ("waiting", [])
    change(postgres, "update wf_event set match_at = null")  # either look is enough
    change(postgres, "update wf_wait set match_at = opened_at")
    machine.settle()
    assert (machine.steps(run)["paid"], machine.event(sent[0])) == ("succeeded", "consumed")
