"""Who keeps the gates: after a decision and before its commit, with the locks of the limits behind the lock of the run.

What is over, paused or put back gives up its slot; what became ready takes one, or is held back and queued; and whoever is next
in a queue is given what is free, by a fact for its run, in the same commit. The keys are locked in one order, so that no two
commits wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from wfcelery.core.decision import Decision, Ring, RingRun
from wfcelery.core.gating import hold_back, put_off, waits_at_a_gate, why_of
from wfcelery.core.rows import NO_ITEM, StepRow
from wfcelery.core.states import StepStatus
from wfcelery.definition.gating import GATES
from wfcelery.store import inbox, limits
from wfcelery.store.database import Database, Tx
from wfcelery.store.limits import LimitRow, Place, Use

LATE = 1.0  # seconds after which a turn that nobody took is lost
MOST = 200  # that one commit lets go
_HAS_IT = (StepStatus.READY, StepStatus.RUNNING, StepStatus.REPORTED)


def add_gates(decision: Decision, row: StepRow, gates: Iterable[Mapping[str, Any]]) -> None:
    """What the code says of a step that is reached: of the kinds of which its definition says nothing."""
    if row.status is StepStatus.WAITING or row.item != NO_ITEM:
        return
    said = {gate["kind"]: gate for gate in row.gates or ()}
    row.gates = sorted(({gate["kind"]: dict(gate) for gate in gates} | said).values(), key=lambda gate: GATES.index(gate["kind"]))
    decision.gated[row.id] = row


def pass_gates(tx: Tx, decision: Decision) -> None:
    """Hold back what has to wait of what a decision makes ready, and pass on what it gives up. Under the run's lock, before the save."""
    gates = _Gates(tx, decision.run.organization_id)
    gates.open(decision)
    for row in decision.gated.values():
        gates.give_up(decision, row)
    for row in decision.gated.values():
        if row.status is StepStatus.READY:
            gates.ask(decision, row)
        elif _is_gate(row) and waits_at_a_gate(row):
            gates.stand_before(decision, row)
    decision.rings.extend(gates.pass_on())


def may_begin(database: Database, organization_id: str, row: StepRow) -> bool:
    """Whether a step that was claimed may begin: no breaker has opened since it was made ready, and its turn is not long past.

    What was ready while nobody worked would begin all at once otherwise.
    """
    gates = [gate for gate in row.gates or () if gate["kind"] in ("breaker", "rate")]
    if not gates:
        return True
    with database.transaction() as tx:
        for gate in gates:
            if gate["kind"] == "breaker" and not limits.lets_through(tx, organization_id, gate["key"], row.id):
                return False
            if gate["kind"] == "rate" and limits.late(tx, row.id) > LATE and not limits.take_turn_now(tx, organization_id, gate["key"]):
                return False
    return True


def look_after(tx: Tx, organization_id: str, place: Place) -> list[Ring]:
    """Take from a limit what nobody uses any more, and give it to whoever waits. Needs no lock of a run."""
    row = limits.lock_known(tx, organization_id, place)
    if row is None:
        return []
    gates = _Gates(tx, organization_id, {place: row})
    stale = limits.stale(tx, organization_id, place)
    limits.give_back(tx, stale)
    row.used -= sum(use.granted for use in stale)
    if row.probe is not None and any(use.step == row.probe for use in stale):
        limits.set_probe(tx, organization_id, row, None)
    rings = gates.pass_on()
    limits.looked_after(tx, organization_id, row)
    return rings


def _is_gate(row: StepRow) -> bool:
    """Whether a row is the gate of a section, and no step."""
    return any(gate.get("section") for gate in row.gates or ())


@dataclass(slots=True)
class _Gates:
    tx: Tx
    organization_id: str
    rows: dict[Place, LimitRow] = field(default_factory=dict)
    uses: dict[UUID, list[Use]] = field(default_factory=dict)  # by step

    def open(self, decision: Decision) -> None:
        """Lock every limit that one of the rows names, in the order of their keys."""
        named = {(gate["kind"], gate["key"]): gate for row in decision.gated.values() for gate in row.gates or ()}
        for place in sorted(named):
            self.rows[place] = limits.lock(self.tx, self.organization_id, named[place])
        for use in limits.uses_of(self.tx, list(decision.gated)):
            self.uses.setdefault(use.step, []).append(use)

    # ---- giving up ---------------------------------------------------------------------------------------------------

    def give_up(self, decision: Decision, row: StepRow) -> None:
        """What a step has, or waits for, that is over, held for another reason, or put back."""
        for gate in row.gates or ():
            if gate["kind"] == "breaker":
                self._judge(self.rows[gate["kind"], gate["key"]], row, failed=row.id in decision.failing)
        if row.id in decision.left:
            self._give_back(self.uses.pop(row.id, []))
            return
        if row.status is StepStatus.SUCCEEDED and _is_gate(row):
            return
        was_running = row.seen is not None and row.seen[0] is StepStatus.RUNNING
        if waits_at_a_gate(row) or (row.status in _HAS_IT and not was_running):
            return
        uses = self.uses.pop(row.id, [])
        if row.seen is not None and row.seen[0] is StepStatus.HELD:  # it may have been told meanwhile, and need not be any more
            inbox.take_back(self.tx, [use.id for use in uses if use.granted])
        self._give_back(uses)

    def _judge(self, breaker: LimitRow, row: StepRow, *, failed: bool) -> None:
        """What the end of an attempt tells a breaker."""
        mine = breaker.probe == row.id
        if failed and (mine or breaker.opens_in is None):
            limits.count_failure(self.tx, self.organization_id, breaker)
        elif row.status is StepStatus.SUCCEEDED and mine:
            limits.close(self.tx, self.organization_id, breaker)
        elif mine and row.status not in _HAS_IT:
            limits.set_probe(self.tx, self.organization_id, breaker, None)

    def _give_back(self, uses: Iterable[Use]) -> None:
        given = list(uses)
        limits.give_back(self.tx, given)
        for use in given:
            self.rows[use.kind, use.key].used -= use.granted

    # ---- asking ------------------------------------------------------------------------------------------------------

    def ask(self, decision: Decision, row: StepRow) -> None:
        """All of its gates at once, or none: who waits at one holds up nobody at another."""
        mine = {(use.kind, use.key): use for use in self.uses.get(row.id, [])}
        taken: list[Place] = []
        for gate in row.gates or ():
            place = gate["kind"], gate["key"]
            use = mine.get(place)
            if gate["kind"] == "rate" or (use is not None and use.granted):
                continue
            if not self._admits(self.rows[place], row):
                self._give_back(mine.values())
                self._wait(decision, row, place)
                return
            taken.append(place)
        for place in taken:
            self._take(decision, row, place)
        self._take_turns(decision, row)

    def _admits(self, limit: LimitRow, row: StepRow) -> bool:
        if limit.kind == "breaker":
            return limit.opens_in is None or limit.probe == row.id or (limit.opens_in <= 0 and limit.probe is None)
        free = limit.slots is None or limit.used < limit.slots
        return free and not row.delay and not limits.waiting(self.tx, self.organization_id, (limit.kind, limit.key), 1)

    def _take(self, decision: Decision, row: StepRow, place: Place) -> None:
        limit = self.rows[place]
        if limit.kind == "breaker":
            if limit.opens_in is not None and limit.probe is None:
                limits.set_probe(self.tx, self.organization_id, limit, row.id)
            return
        limits.ask(self.tx, self.organization_id, place, (decision.run.id, row.id), granted=True, priority=0, delay=None)
        limit.used += 1

    def _wait(self, decision: Decision, row: StepRow, place: Place) -> None:
        who, delay = (decision.run.id, row.id), row.delay or None
        priority = row.priority if row.priority is not None else decision.run.priority or 0
        limits.ask(self.tx, self.organization_id, place, who, granted=False, priority=priority, delay=delay)
        if delay is not None:
            limits.look_in(self.tx, self.organization_id, place, delay)
        hold_back(decision, row, why_of(*place))

    def _take_turns(self, decision: Decision, row: StepRow) -> None:
        """Its turn at a rate is a time: it is ready, and due then."""
        for gate in row.gates or ():
            if gate["kind"] == "rate":
                turn = limits.take_turn(self.tx, self.organization_id, self.rows[gate["kind"], gate["key"]])
                if turn > (row.delay or 0.0):
                    put_off(decision, row, turn)

    def stand_before(self, decision: Decision, row: StepRow) -> None:
        """A run that has come to the gate of a section takes its place; it is told like the others when its turn has come."""
        if self.uses.get(row.id):
            return
        for gate in (row.gates or [])[:1]:
            place, limit = (gate["kind"], gate["key"]), self.rows[gate["kind"], gate["key"]]
            if limit.slots is not None and limit.used >= limit.slots:
                self._meet(decision, place, gate.get("when_full"))
            priority = decision.run.priority or 0
            limits.ask(self.tx, self.organization_id, place, (decision.run.id, row.id), granted=False, priority=priority, delay=None)

    def _meet(self, decision: Decision, place: Place, when_full: str | None) -> None:
        """What a workflow says of a run that comes when there are as many as may be."""
        ended: Iterable[Use] = ()
        if when_full == "reject":
            self._cancel(decision, decision.run.id, decision.run.queue, f"{place[1]} is taken")
        elif when_full == "cancel_running":
            ended = limits.everybody(self.tx, self.organization_id, place)
        elif when_full == "keep_newest":
            ended = limits.waiting(self.tx, self.organization_id, place, MOST)
        for use in ended:
            if use.run != decision.run.id:
                self._cancel(decision, use.run, use.queue, f"run {decision.run.id} has come for {place[1]}")

    def _cancel(self, decision: Decision, run: UUID, queue: str | None, reason: str) -> None:
        inbox.put(self.tx, self.organization_id, run, "cancel", {"reason": reason, "by": None})
        decision.rings.append(RingRun(self.organization_id, run, queue))

    # ---- passing on --------------------------------------------------------------------------------------------------

    def pass_on(self) -> list[Ring]:
        """Give what is free to whoever is next."""
        rings: list[Ring] = []
        for place, limit in self.rows.items():
            if limit.kind != "rate":
                rings.extend(self._let_go(place, limit))
        return rings

    def _let_go(self, place: Place, limit: LimitRow) -> list[Ring]:
        free = self._free(limit)
        if free <= 0:
            return []
        found = limits.waiting(self.tx, self.organization_id, place, min(free, MOST))
        if limit.kind == "breaker":
            if found and limit.opens_in is not None:
                limits.set_probe(self.tx, self.organization_id, limit, found[0].step)
            limits.give_back(self.tx, found)
        else:
            limits.grant(self.tx, found)
            limit.used += len(found)
        if len(found) == MOST:
            limits.look_in(self.tx, self.organization_id, place, 0.0)
        return [self._tell(use) for use in found]

    @staticmethod
    def _free(limit: LimitRow) -> int:
        if limit.kind != "breaker":
            return MOST if limit.slots is None else limit.slots - limit.used
        if limit.opens_in is None:
            return MOST
        return int(limit.opens_in <= 0 and limit.probe is None)

    def _tell(self, use: Use) -> Ring:
        said: dict[str, Any] = {"step": str(use.step), "kind": use.kind, "key": use.key}
        inbox.put(self.tx, self.organization_id, use.run, "gate_opened", said, use.id)
        return RingRun(self.organization_id, use.run, use.queue)
