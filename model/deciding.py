"""What one commit under a run's lock does: results first, then what was asked, then the graph advances."""

from __future__ import annotations

from model.configurations import RETRIES
from model.states import DONE, ENDED, ENDING, OPEN, OVER, REQUESTS, Attempt, Bell, Fact, RolledBack, V, Worker
from model.world import World, rings_of


class Commit:
    """Decide and save, in one commit."""

    def __init__(self, w: World, r: int, me: Worker | None = None) -> None:
        self.w, self.c, self.r, self.mutant = w, w.c, r, w.mutant
        self.seen = list(me.seen if me and me.seen else (step.status for step in w.steps))
        self.counters = me.counters if me else ()
        self.goes_on = me.fan if me else None  # the worker takes the next items of this fan-out itself
        self.ready: list[int] = []
        self.rings: set[Bell] = set()

    @property
    def open(self) -> bool:
        """Whether the graph may still advance."""
        return self.w.runs[self.r] in OPEN

    def begin(self) -> None:
        """The first steps of a run."""
        for i in self.c.of_run[self.r]:
            if not self.c.tasks[i].after and not self.w.is_item(i):
                self.start(i)

    # -- what was asked ---------------------------------------------------------------------------------------------------

    def control(self, facts: list[Fact]) -> None:
        """Cancel first: results below no longer advance."""
        if "cancel" in facts and self.open:
            self.bring_to_end("cancelling")
        for fact in facts:
            if fact == "pause" and self.w.runs[self.r] == "running":
                self.w.runs[self.r] = "paused"
                for i in self.c.of_run[self.r]:
                    if self.seen[i] == "ready":
                        self._write(i, "held", "pause")
            elif fact == "resume" and self.w.runs[self.r] == "paused":
                self.w.runs[self.r] = "running"
                for i in self.c.of_run[self.r]:
                    if self.seen[i] == "held" and (self.w.steps[i].why == "pause" or self.mutant == "resume_ignores_the_limit"):
                        self._write(i, "ready")
                        self.rings |= set() if self.w.steps[i].later else rings_of(self.c, i)

    def _write(self, i: int, status: str, why: str = "") -> None:
        """Only over the status that was read."""
        if self.w.steps[i].status != self.seen[i] and self.mutant != "save_without_guard":
            raise RolledBack("row changed")
        self.seen[i] = status
        self.w.change(i, status=status, why=why)

    def bring_to_end(self, status: str) -> None:
        """Close what nobody executes. What is executing ends as it ends, and is recorded."""
        for i in self.c.of_run[self.r]:
            step, read, task = self.w.steps[i], self.seen[i], self.c.tasks[i]
            if read in ("blocked", "ready", "held") or (self.mutant == "cancel_overwrites_reported" and read == "reported"):
                self._write(i, "cancelled")
                if step.token and self.mutant != "cancel_overwrites_reported":
                    raise V(f"step {i} is executing and was closed as never started")
                self.w.change(i, token=None, later=False)
            elif task.kind == "child" and read == "waiting":
                self.w.put(task.of, "cancel")
                self.rings.add(("run", task.of, 0))
        self.w.runs[self.r] = status
        for i in self.c.of_run[self.r]:
            if self.c.tasks[i].kind == "fan" and self.w.steps[i].status == "waiting":
                left = sum(self.w.steps[j].status not in ENDED for j in self.c.items[i])
                self.w.change(i, items_left=left)
                self.end_fan_out(i)

    def hand_back(self, keep: Attempt | None, facts: list[Fact]) -> Attempt | None:
        """A kept step that was never begun is handed back in the commit that stops its run."""
        if keep is None or not self.open or not {"cancel", "pause"} & {fact for fact in facts if fact in REQUESTS}:
            return keep
        (i,) = keep.steps
        if self.w.steps[i].token != keep.token:
            return keep
        if self.mutant == "kept_step_survives_cancel":
            raise V(f"step {i} starts after its own worker has applied a cancel or pause")
        self.w.change(i, status="ready", token=None)
        self.seen[i] = "ready"
        return None

    # -- results ----------------------------------------------------------------------------------------------------------

    def record(self, own: Attempt, failed: tuple[int, ...]) -> None:
        """The worker's own results; of a group, those items that are still its own."""
        steps = self.w.current(own)
        if self.mutant == "retry_counted_twice" and failed:
            steps = tuple(i for i in own.steps if self.w.steps[i].status in ("running", "ready"))
        if not steps:
            raise RolledBack("fenced")
        ended = 0
        for i in steps:
            if self.w.steps[i].token not in (own.token, None):
                raise V(f"an old attempt of step {i} recorded its result")
            ended += self.fail(i) if i in failed else self.end(i)
        if self.w.is_item(steps[0]):
            fenced = len(own.steps) - len(steps)
            self.count(self.c.tasks[steps[0]].of, ended + fenced * (self.mutant == "group_counts_what_it_claimed"), fenced)

    def apply(self, facts: list[Fact]) -> None:
        """What others have put into the inbox."""
        for fact in facts:
            what, i = fact[0], fact[1]
            if what == "reported" and self.w.runs[self.r] not in OVER:
                step, wanted = self.w.steps[i], "running" if self.mutant == "result_only_in_inbox" else "reported"
                if step.token == fact[2] and step.status == wanted:
                    self.end(i)
                elif self.mutant not in ("cancel_overwrites_reported", "result_only_in_inbox"):
                    raise V(f"step {i} was reported and is now {step.status}")
            elif what == "child" and self.w.steps[i].status == "waiting":
                self.end(i)
            elif what == "retry":
                self.retry(i)

    def end(self, i: int, status: str = "succeeded") -> bool:
        """A step is over, and those behind it may go on. True: it was an item, which its fan-out has to count."""
        self.w.change(i, status=status, token=None, later=False)
        if self.w.is_item(i):
            return True
        if self.open:
            for j in self.c.after[i]:
                left = (self.counters[j] if self.counters else self.w.steps[j].blockers) - 1
                self.w.change(j, blockers=left)
                if left < 0:
                    raise V(f"step {i} ended twice")
                if left == 0:
                    self.start(j)
        return False

    def fail(self, i: int) -> bool:
        """The code has raised: once more, a little later, or never again."""
        step = self.w.steps[i]
        if step.failures < RETRIES:
            return self.put_back(i, failures=step.failures + 1, later=True)
        second = self.mutant == "dead_letter_in_second_commit"
        self.w.change(i, status="failed", token=None, failures=step.failures + 1, buried=not second)
        self.rings |= {("bury", i, 0)} if second else set()
        self.seen[i] = "failed"
        if self.w.is_item(i):
            return True
        if self.open:
            self.bring_to_end("failing")
        return False

    def put_back(self, i: int, failures: int | None = None, later: bool = False) -> bool:
        """It may be claimed again, unless its run is ending."""
        status = {"running": "ready", "paused": "held"}.get(self.w.runs[self.r], "cancelled")
        count = self.w.steps[i].failures if failures is None else failures
        why = "pause" if status == "held" else ""
        self.w.change(i, status=status, token=None, why=why, failures=count, later=later and status != "cancelled")
        if self.mutant == "retry_frees_its_slot" and self.w.is_item(i):
            self.w.let_go(self.c.tasks[i].of, 1)
        return status == "cancelled" and self.w.is_item(i)

    # -- fan-outs ---------------------------------------------------------------------------------------------------------

    def count(self, fan: int, ended: int, fenced: int = 0) -> None:
        """So many items have ended: let as many go that were held, or end with the last."""
        if not ended:
            return
        left = (self.counters[fan] if self.counters else self.w.steps[fan].items_left) - ended
        self.w.change(fan, items_left=left)
        if self.end_fan_out(fan) or not self.open:
            return
        if self.mutant == "let_go_in_second_commit":
            self.rings.add(("let go", fan, 0))
        elif self.mutant != "held_items_are_never_let_go":
            also = fenced if self.mutant == "fenced_items_free_slots" else 0
            if self.w.let_go(fan, ended + also) and self.goes_on is None:
                self.rings.add(("items", fan, 0))

    def end_fan_out(self, fan: int) -> bool:
        """With its last item, if that has ended."""
        if self.w.steps[fan].items_left:
            return False
        items = [self.w.steps[j].status for j in self.c.items[fan]]
        if any(status not in ENDED for status in items):
            raise V(f"fan-out {fan} ended before its items")
        self.end(fan, "cancelled" if "cancelled" in items else "succeeded")
        return True

    # -- the graph --------------------------------------------------------------------------------------------------------

    def start(self, i: int) -> None:
        """Everything before this step has ended."""
        w, task = self.w, self.c.tasks[i]
        if w.steps[i].status != "blocked":
            raise V(f"step {i} was to start, and it is {w.steps[i].status}")
        if any(w.steps[d].status not in DONE for d in task.after):
            raise V(f"join {i} fired early")
        if task.kind == "child":
            w.change(i, status="waiting")
            w.runs[task.of] = "running"
            child = Commit(w, task.of)
            child.begin()
            self.rings |= child.rings
            return
        paused = w.runs[self.r] != "running" and self.mutant != "pause_forgets_new_steps"
        status, why = ("held", "pause") if paused else ("ready", "")
        if task.kind == "fan":
            w.change(i, status="waiting", items_left=len(self.c.items[i]))
            for n, j in enumerate(self.c.items[i]):
                w.change(j, status=status if n < self.c.limit else "held", why=why if n < self.c.limit else "limit")
        else:
            w.change(i, status=status, why=why)
            self.ready.append(i)
        self.rings |= set() if paused else rings_of(self.c, i)

    def retry(self, i: int) -> None:
        """A dead letter's step gets another episode; its run goes on, and so does what its failure closed."""
        step, run = self.w.steps[i], self.w.runs[self.r]
        guarded = self.mutant != "retry_without_guard"
        if (guarded and step.status != "failed") or run not in ("failed", *OPEN):
            return
        failures = step.failures if self.mutant == "retry_keeps_the_failures" else 0
        if run == "failed":
            self.w.runs[self.r] = "running"
        self.w.change(i, token=None, buried=False, failures=failures)
        self._again(i, 0)
        if run != "failed" or self.mutant == "retry_forgets_what_stop_closed":
            return
        closed = [j for j in self.c.of_run[self.r] if self.w.steps[j].status == "cancelled" and not self._held_up(j)]
        for j in closed:
            self._again(j, sum(self.w.steps[d].status not in DONE for d in self.c.tasks[j].after))

    def _again(self, i: int, blockers: int) -> None:
        if self.mutant == "reopening_keeps_the_counters":
            blockers = self.w.steps[i].blockers
        status = "blocked" if blockers else "ready" if self.w.runs[self.r] == "running" else "held"
        self.w.change(i, status=status, blockers=blockers, why="pause" if status == "held" else "")
        if status == "ready":
            self.ready.append(i)
            self.rings |= rings_of(self.c, i)

    def _held_up(self, i: int) -> bool:
        """Whether a failure that stands is before it."""
        return any(self.w.steps[d].status == "failed" or self._held_up(d) for d in self.c.tasks[i].after)

    def settle(self) -> None:
        """Is the run over?"""
        w, r = self.w, self.r
        steps = [w.steps[i] for i in self.c.of_run[r] if not w.is_item(i)]
        if any(step.status not in ENDED for step in steps):
            return
        if w.runs[r] in OPEN and all(step.status in DONE for step in steps):
            w.runs[r] = "succeeded"
        elif w.runs[r] in OPEN and any(step.status == "failed" for step in steps):
            w.runs[r] = "failed"
        elif w.runs[r] in ENDING:
            w.runs[r] = ENDING[w.runs[r]]
        else:
            return
        if r in self.c.parent:
            i = self.c.parent[r]
            late = self.mutant == "child_end_in_second_commit"
            self.rings.add(("end", r, 0) if late else ("run", self.c.tasks[i].run, 0))
            if not late:
                w.put(self.c.tasks[i].run, ("child", i))


def commit(w: World, me: Worker) -> tuple[frozenset[Bell], Attempt | None]:
    """What a worker that holds the run's lock does: the rings that follow, and the step it keeps."""
    r, facts = me.run, list(me.facts)
    if me.own and not me.failed and not w.current(me.own):
        raise RolledBack("fenced")
    this = Commit(w, r, me)
    keep = this.hand_back(me.keep, facts)
    this.control(facts)
    if me.own:
        this.record(me.own, me.failed)
    this.apply([fact for fact in facts if fact not in REQUESTS])
    w.inbox[r] = () if w.mutant == "delete_all_not_those_read" else tuple(fact for fact in w.inbox[r] if fact not in facts)
    this.settle()
    w.flush()
    can = [i for i in this.ready if w.steps[i].status == "ready"]
    if keep is None and me.keep is None and w.c.ahead and can and w.runs[r] == "running":
        this.rings.discard(("step", can[0], 0))
        keep = w.claim((can[0],), False)
        w.change(can[0], judged=w.mutant not in ("run_ahead_without_lease", "renew_by_claimed_by"))
    return frozenset(this.rings), keep


def lost(w: World, i: int) -> set[Bell]:
    """The sweep's word: nobody executes this step any more."""
    this = Commit(w, w.c.tasks[i].run)
    raised = w.steps[i].failures + 1 if w.mutant == "lost_counts_as_failure" else None
    if this.put_back(i, failures=raised):
        this.count(w.c.tasks[i].of, 1)
    return _alone(w, this)


def timed_out(w: World, i: int) -> set[Bell]:
    """The sweep's word: this attempt has taken too long."""
    this = Commit(w, w.c.tasks[i].run)
    if this.end(i, "timed_out"):
        this.count(w.c.tasks[i].of, 1)
    return _alone(w, this)


def _alone(w: World, this: Commit) -> set[Bell]:
    this.settle()
    w.flush()
    return this.rings


def begun(w: World) -> World:
    """The run has begun: its first steps are ready, and their messages under way."""
    first = Commit(w, 0)
    first.begin()
    w.ring(first.rings)
    return w
