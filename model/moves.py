"""Every next action of a state. One action is one transaction, or one act outside SQL (publish, run the author's code).

A transaction under the run's lock is two actions, lock and read, then save and commit, so that others act in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from model.configurations import Configuration
from model.deciding import commit, lost, timed_out
from model.states import BUDGET, IDLE, OPEN, OVER, REQUESTS, Bell, RolledBack, State, Worker
from model.world import World, rings_of

Kind = Literal["work", "sweep", "request", "fault"]
Move = tuple[str, Kind, State]


class Moves:
    """Collects what can happen in one state."""

    def __init__(self, c: Configuration, mutant: str | None, state: State) -> None:
        self.c, self.mutant, self.state = c, mutant, state
        self.have = dict(zip(BUDGET, state.budget, strict=True))
        self.look = World(c, mutant, state)
        self.n, self.found = 0, list[Move]()

    def world(self) -> World:
        """The state, opened once more."""
        return World(self.c, self.mutant, self.state)

    def add(self, label: str, kind: Kind, w: World, now: Worker | None = None, spend: str = "") -> None:
        """`now`: where the worker whose turn it is stands after it."""
        if spend:
            w.spend(spend)
        if now is not None:
            w.workers[self.n] = now
        self.found.append((label, kind, w.state()))

    def all(self) -> list[Move]:
        """Everything that can happen next."""
        for n, me in enumerate(self.state.workers):
            if n and me == self.state.workers[n - 1]:
                continue  # workers are alike
            self.n = n
            AT[me.at](self, me)
            if me.at != "idle" and self.have["crash"]:
                self._die(me)
        self._ghost()
        self._sweep_steps()
        self._sweep_inboxes()
        self._requests()
        self._faults()
        return self.found

    # -- a worker's turn --------------------------------------------------------------------------------------------------

    def at_idle(self, me: Worker) -> None:
        """It takes a message; or, without a broker, what is in the database."""
        if not self.c.broker:
            for i, step in enumerate(self.state.steps):
                if step.status == "ready" and not step.later:
                    for bell in rings_of(self.c, i):
                        self._take(bell, "")
            for r, waits in enumerate(self.state.inbox):
                if waits:
                    self._take(("run", r, 0), "")
            return
        for bell in sorted(self.state.bells):
            self._take(bell, "")
            if self.have["dup"]:
                self._take(bell, "dup")

    def _take(self, bell: Bell, spend: str) -> None:
        what, i, _ = bell
        w = self.world()
        if not spend:
            w.bells.discard(bell)
        if what == "run":
            self.add(f"a worker takes the ring for run {i}", "fault" if spend else "work", w, Worker("try", run=i), spend)
            return
        fan = i if what == "items" else None
        self._claim(w, w.group(i) if what == "items" else (i,), fan, IDLE, spend)

    def _claim(self, w: World, steps: tuple[int, ...], fan: int | None, otherwise: Worker, spend: str = "") -> None:
        own = w.claim(steps, self.c.asyn, fan)
        early: tuple[int, ...] = ()
        if self.mutant == "items_left_from_a_value_read_earlier" and fan is not None:
            early = self._counters()
        now = Worker("exec", own, run=self.c.tasks[own.steps[0]].run, fan=fan, counters=early) if own else otherwise
        what = f"steps {steps}" if len(steps) > 1 else f"step {steps[0]}" if steps else f"items of {fan}"
        self.add(f"{what}: claimed" if own else f"{what}: heard, nothing to do", "fault" if spend else "work", w, now, spend)
        if own and self.have["unknown"] and not spend:
            self.add(f"{what}: claimed, and the worker never learns it", "fault", w, IDLE, "unknown")

    def _counters(self) -> tuple[int, ...]:
        return tuple(step.items_left if self.c.items[i] else step.blockers for i, step in enumerate(self.state.steps))

    def at_exec(self, me: Worker) -> None:
        """The author's code runs, and nothing of it is seen by others."""
        assert me.own is not None
        reports = self.c.tasks[me.own.steps[0]].kind == "tx"
        self.add(f"steps {me.own.steps}: code runs", "work", self.world(), me._replace(at="put" if reports else "ran"))
        if self.have["fail"]:
            for i in me.own.steps:
                w = self.world()
                self.add(f"step {i}: code raises", "fault", w, me._replace(at="ran", failed=(i,)), "fail")

    def at_ran(self, me: Worker) -> None:
        """It waits for the run's lock; the statement that takes it reads nothing but the run's row."""
        own = me.own
        assert own is not None
        doubly = self.mutant == "retry_counted_twice" and bool(me.failed)
        early = self.mutant == "reads_in_the_locking_statement"
        if not self.look.busy(me.run):
            counters = me.counters or (self._counters() if self.mutant == "counters_without_run_lock" else ())
            if self.look.current(own) or doubly:
                self.add(f"steps {own.steps}: locks run {me.run}, reads", "work", self.world(), self._hold(me._replace(counters=counters)))
            else:
                after = IDLE if self.mutant == "no_look_after_rollback" else Worker("try", run=me.run, fan=me.fan)
                self.add(f"steps {own.steps}: fenced", "work", self.world(), after)
        elif self.c.impatient and me.fan is None and not me.failed and not early:
            self.add(f"step {own.steps[0]}: finds run {me.run} busy", "work", self.world(), me._replace(at="put"))
        elif early and me.at == "ran":
            w = self.world()
            self.add(f"steps {own.steps}: reads, waits for run {me.run}", "work", w, me._replace(at="wait", counters=self._counters()))

    def _hold(self, me: Worker) -> Worker:
        inbox = self.state.inbox[me.run]
        writes_over = bool(me.failed) or any(fact in REQUESTS for fact in inbox)
        seen = tuple(step.status for step in self.state.steps) if writes_over else ()
        return me._replace(at="hold", facts=inbox, seen=seen)

    def at_put(self, me: Worker) -> None:
        """A report: the step's own transaction, which neither reads nor locks the run."""
        own, ghost = me.own, self.state.ghost
        assert own is not None
        (i,) = own.steps
        if ghost and any(i in attempt.steps for attempt in ghost.attempts()):
            return  # it waits for the lock on that step's row
        two = self.mutant == "report_and_fact_in_two_commits"
        for spend in ("", "unknown") if self.have["unknown"] else ("",):
            w = self.world()
            try:
                w.report(own)
            except RolledBack:
                self.add(f"step {i}: fenced, its effect rolls back", "work", w, IDLE)
                return
            after = IDLE if spend or self.mutant == "no_try_after_put" else Worker("tell", own) if two else Worker("try", run=me.run)
            label = f"step {i}: reports" + (", and never learns it" if spend else "")
            self.add(label, "fault" if spend else "work", w, after, spend)

    def at_tell(self, me: Worker) -> None:
        """A mutant's second commit."""
        assert me.own is not None
        (i,) = me.own.steps
        w, r = self.world(), self.c.tasks[i].run
        w.put(r, ("reported", i, me.own.token))
        self.add(f"step {i}: puts its report", "work", w, Worker("try", run=r))

    def at_try(self, me: Worker) -> None:
        """Whoever put a fact, heard a ring or has looked: drain the inbox."""
        waits = self.state.inbox[me.run]
        if waits and self.look.busy(me.run):
            if self.c.impatient:  # the holder looks after its release
                self.add(f"run {me.run}: busy, somebody goes away", "work", self.world(), _then(me))
            return
        go_on = waits and not (self.mutant == "terminal_run_is_not_drained" and self.state.runs[me.run] in OVER)
        self.add(f"run {me.run}: somebody {'drains' if go_on else 'looks'}", "work", self.world(), self._hold(me) if go_on else _then(me))

    def at_hold(self, me: Worker) -> None:
        """It has the run's lock and has read: decide, save, commit."""
        w = self.world()
        try:
            bells, keep = commit(w, me)
            self.add(f"run {me.run}: commits", "work", w, Worker("publish", keep=keep, run=me.run, fan=me.fan, bells=bells))
        except RolledBack as why:
            again = me.own and str(why) == "row changed"
            now = me._replace(at="ran", facts=(), seen=()) if again else Worker("try", keep=me.keep, run=me.run, fan=me.fan)
            self.add(f"run {me.run}: {why}, rolls back", "work", self.world(), now)
        if self.state.ghost is None:
            if me.own:
                asks = Worker("ask", me.own, me.failed, run=me.run, fan=me.fan)
            else:
                asks = Worker("try", keep=me.keep, run=me.run, fan=me.fan)
            for spend, now in (("unknown", asks), ("crash", IDLE)):
                if self.have[spend]:
                    w = self.world()
                    w.ghost = me
                    self.add(f"run {me.run}: {spend}, COMMIT under way", "fault", w, now, spend)

    def at_publish(self, me: Worker) -> None:
        """After commit."""
        w = self.world()
        w.ring(me.bells)
        blind = self.mutant == "no_look_after_release"
        self.add(f"publishes {sorted(me.bells)}", "work", w, _then(me) if blind else me._replace(at="look", bells=frozenset()))

    def at_look(self, me: Worker) -> None:
        """Release, then look."""
        waits = self.state.inbox[me.run]
        self.add(f"run {me.run}: looks after release", "work", self.world(), me._replace(at="try") if waits else _then(me))

    def at_ask(self, me: Worker) -> None:
        """Its commit's answer was lost: what do the rows say?"""
        assert me.own is not None
        mine = [i for i in me.own.steps if self.state.steps[i].status == "running" and self.state.steps[i].token == me.own.token]
        again = mine or (self.mutant == "retry_counted_twice" and me.failed)
        now = me._replace(at="ran") if again else Worker("try", run=me.run, fan=me.fan)
        self.add(f"steps {me.own.steps}: asks what became of it", "work", self.world(), now)

    def at_next(self, me: Worker) -> None:
        """The next group of the same fan-out."""
        assert me.fan is not None
        w = self.world()
        self._claim(w, w.group(me.fan), me.fan, IDLE)

    def _die(self, me: Worker) -> None:
        w = self.world()
        if self.mutant == "renew_by_claimed_by":
            for attempt in me.attempts():
                for i in attempt.steps:
                    if w.steps[i].token == attempt.token:
                        w.change(i, judged=True)
        self.add(f"dies at {me.at}", "fault", w, IDLE, "crash")

    # -- everybody else's -------------------------------------------------------------------------------------------------

    def _ghost(self) -> None:
        ghost = self.state.ghost
        if ghost is None:
            return
        w = self.world()
        w.ghost = None
        self.add("the commit under way fails", "work", w)
        w = self.world()
        w.ghost = None
        try:
            commit(w, ghost)
        except RolledBack:
            return
        self.add("the commit under way lands", "work", w)

    def _sweep_steps(self) -> None:
        alive = {(i, attempt.token) for me in self.state.workers for attempt in me.attempts() for i in attempt.steps}
        rung = set[Bell]()
        for i, step in enumerate(self.state.steps):
            if step.status == "ready" and step.later:
                w = self.world()
                w.change(i, later=False)
                w.ring(rings_of(self.c, i))
                self.add(f"step {i} falls due", "work", w)
            elif step.status == "ready" and self.c.broker:
                rung |= self._sweep_rings(i, rung)
            self._sweep_attempt(i, (i, step.token) not in alive and step.judged)

    def _sweep_rings(self, i: int, rung: set[Bell]) -> set[Bell]:
        """Ready, and nobody took it in time."""
        bells = rings_of(self.c, i)
        forgets = self.mutant == "sweep_rings_only_published" and i not in self.state.published
        forgets = forgets or (self.mutant == "sweep_forgets_fan_outs" and self.look.is_item(i))
        if bells <= self.state.bells or bells <= rung or forgets:
            return set()
        w = self.world()
        w.ring(bells)
        self.add(f"sweep rings {sorted(bells)}", "sweep", w)
        return bells

    def _sweep_attempt(self, i: int, dead: bool) -> None:
        """Lost: its token is with nobody who lives; or its lease is over although its attempt lives."""
        status, r = self.state.steps[i].status, self.c.tasks[i].run
        if status not in ("running", "reported") or self.look.busy(r):
            return
        reported = status == "reported"
        if (dead or self.have["stall"]) and (not reported or self.mutant == "lease_sweep_takes_reported"):
            w = self.world()
            w.ring(lost(w, i))
            self.add(f"sweep: step {i} is lost", "sweep" if dead else "fault", w, spend="" if dead else "stall")
        if self.have["timeout"] and (not reported or self.mutant == "timeout_takes_reported"):
            w = self.world()
            w.ring(timed_out(w, i))
            self.add(f"sweep: step {i} takes too long", "fault", w, spend="timeout")

    def _sweep_inboxes(self) -> None:
        for r, waits in enumerate(self.state.inbox):
            bell = ("run", r, 0)
            if self.c.broker and waits and bell not in self.state.bells and self.mutant != "sweep_forgets_the_inbox":
                w = self.world()
                w.ring({bell})
                self.add(f"sweep rings run {r}", "sweep", w)

    def _requests(self) -> None:
        for what in REQUESTS:
            if self.have[what] and not (what == "resume" and self.have["pause"]):
                self._request(what, what, "work" if what == "resume" else "request")
        if self.have["retry"]:
            for i, step in enumerate(self.state.steps):
                if step.buried and not self.look.is_item(i) and self.state.runs[0] in ("failed", *OPEN):
                    self._request("retry", ("retry", i, self.have["retry"]), "request")

    def _request(self, what: str, fact: object, kind: Kind) -> None:
        w = self.world()
        w.put(0, fact)
        w.ring({("run", 0, 0)})
        self.add(f"somebody asks: {fact}", kind, w, spend=what)

    def _faults(self) -> None:
        if self.have["lose"]:
            for bell in sorted(self.state.bells):
                w = self.world()
                w.bells.discard(bell)
                self.add(f"{bell} is lost", "fault", w, spend="lose")
        if self.have["dbcrash"]:
            self._database_crash()

    def _database_crash(self) -> None:
        """Claims that were committed asynchronously are gone; their code runs on."""
        w = self.world()
        w.ghost = None
        for i, step in enumerate(self.state.steps):
            if step.unflushed:
                named = self.c.tasks[i].of if w.is_item(i) else i
                w.change(i, status="ready", token=None, unflushed=False)
                w.change(named, attempt=max(0, w.steps[named].attempt - (self.mutant == "token_is_attempt_number")))
        for n, me in enumerate(self.state.workers):
            if me.at == "hold":
                w.workers[n] = me._replace(at="ran" if me.own else "try", facts=(), seen=(), counters=())
        self.add("the database crashes", "fault", w, spend="dbcrash")


def _then(me: Worker) -> Worker:
    """After release: the kept step, the next items, or the next message."""
    if me.keep:
        return Worker("exec", me.keep, run=me.run)
    return Worker("next", fan=me.fan) if me.fan is not None else IDLE


AT: dict[str, Callable[[Moves, Worker], None]] = {
    name.removeprefix("at_"): function for name, function in vars(Moves).items() if name.startswith("at_")
} | {"wait": Moves.at_ran}


def moves(c: Configuration, mutant: str | None, state: State) -> list[Move]:
    """What can happen next."""
    return Moves(c, mutant, state).all()
