"""One state, opened for change: the writes that need no lock of the run, and what must be true of every state."""

from __future__ import annotations

from typing import Any

from model.configurations import GROUP, RETRIES, WINDOW, Configuration
from model.states import BUDGET, DONE, ENDED, IDLE, OVER, UNDER_WAY, Attempt, Bell, Fact, RolledBack, State, Step, Token, V, Worker

MAY_STAND = {"succeeded": DONE, "cancelled": ENDED, "failed": ENDED}  # in a run that is over


class World:
    """One state, opened."""

    def __init__(self, c: Configuration, mutant: str | None, state: State) -> None:
        self.c, self.mutant, self.was = c, mutant, state
        self.runs, self.steps, self.inbox = list(state.runs), list(state.steps), list(state.inbox)
        self.bells, self.workers = set(state.bells), list(state.workers)
        self.ghost, self.budget, self.published = state.ghost, state.budget, state.published

    def state(self) -> State:
        """Closed again; workers are alike, so their order says nothing."""
        return State(
            tuple(self.runs),
            tuple(self.steps),
            tuple(self.inbox),
            frozenset(self.bells),
            tuple(sorted(self.workers, key=hash)),
            self.ghost,
            self.budget,
            self.published,
        )

    def change(self, i: int, **values: Any) -> None:
        """Write a step's row."""
        self.steps[i] = self.steps[i]._replace(**values)

    def spend(self, what: str) -> None:
        """It has happened once more."""
        self.budget = tuple(left - (name == what) for name, left in zip(BUDGET, self.budget, strict=True))

    def spent(self, what: str) -> int:
        """How often it has happened."""
        at = BUDGET.index(what)
        return self.c.budget[at] - self.budget[at]

    def flush(self) -> None:
        """A synchronous commit makes every earlier commit durable, too."""
        for i, step in enumerate(self.steps):
            if step.unflushed:
                self.change(i, unflushed=False)

    def busy(self, r: int) -> bool:
        """Whether somebody holds the run's lock."""
        if self.mutant == "counters_without_run_lock":
            return False
        return any(w is not None and w.at == "hold" and w.run == r for w in (*self.workers, self.ghost))

    def put(self, r: int, fact: Fact) -> None:
        """Into the run's inbox."""
        self.inbox[r] += (fact,)

    def ring(self, bells: frozenset[Bell] | set[Bell]) -> None:
        """Publish; three mutants do here what belongs into the commit before."""
        for what, i, n in bells:
            if what == "end":
                self.put(i, ("child", self.c.parent[1]))
                what = "run"  # noqa: PLW2901
            elif what == "bury":
                self.change(i, buried=True)
                continue
            elif what == "let go":
                self.let_go(i, 1)
                continue
            if self.c.broker:
                self.bells.add((what, i, n))
            if self.mutant == "sweep_rings_only_published" and what == "step":
                self.published |= {i}

    def is_item(self, i: int) -> bool:
        """Whether it is one of a fan-out."""
        return self.c.tasks[i].kind == "item"

    def takeable(self, i: int) -> bool:
        """Whether a claim finds this row."""
        step = self.steps[i]
        if self.mutant == "claim_without_cas" and step.status == "running":
            return True
        return step.status == "ready" and (not step.later or self.mutant == "claim_before_the_due_time")

    def group(self, fan: int) -> tuple[int, ...]:
        """The items that one claim takes."""
        return tuple(i for i in self.c.items[fan] if self.takeable(i))[:GROUP]

    def claim(self, steps: tuple[int, ...], asyn: bool, fan: int | None = None) -> Attempt | None:
        """A compare-and-set on rows of steps alone; all that it takes gets one token."""
        steps = tuple(i for i in steps if self.takeable(i))
        if not steps:
            return None
        named = steps[0] if fan is None else fan
        row = self.steps[named]
        counted = row.attempt + (self.mutant == "token_is_attempt_number")
        self.change(named, claims=row.claims + 1, attempt=counted)
        token = (counted, row.claims + 1)
        for i in steps:
            step, status = self.steps[i], self.runs[self.c.tasks[i].run]
            if status != "running":
                raise V(f"step {i} started although its run is {status}")
            if step.status == "running":
                raise V(f"step {i} claimed twice at once")
            if step.later:
                raise V(f"step {i} started before it was due")
            self.change(i, status="running", token=token, unflushed=asyn, judged=self.mutant != "renew_by_claimed_by")
        return Attempt(steps, token)

    def fenced(self, i: int, token: Token) -> bool:
        """Whether this attempt may write its step no more."""
        step = self.steps[i]
        compared = {"finish_without_token": 0, "token_is_attempt_number": 1}.get(self.mutant or "", 2)
        if self.mutant == "group_recorded_without_token" and self.is_item(i):
            compared = 0
        return step.status != "running" or step.token is None or step.token[:compared] != token[:compared]

    def current(self, own: Attempt) -> tuple[int, ...]:
        """Those of an attempt's steps that it may still write."""
        return tuple(i for i in own.steps if not self.fenced(i, own.token))

    def report(self, own: Attempt) -> None:
        """A step records its own result: its row, its effect and a fact for its run, in one commit without the run's lock."""
        (i,) = own.steps
        step, r = self.steps[i], self.c.tasks[i].run
        unguarded = self.mutant == "result_only_in_inbox"
        if not unguarded:
            if self.fenced(i, own.token):
                raise RolledBack("fenced")
            if step.token != own.token:
                raise V(f"an old attempt of step {i} reported")
            self.change(i, status="reported")
        if self.c.tasks[i].kind == "tx":
            self.change(i, effects=step.effects + 1)
            if step.effects:
                raise V(f"transactional effect of step {i} applied twice")
        if self.mutant != "report_and_fact_in_two_commits":
            self.put(r, ("reported", i, own.token))
        self.flush()

    def let_go(self, fan: int, many: int) -> bool:
        """Items that waited for the fan-out's limit; whether any of them is ready now."""
        waiting = [i for i in self.c.items[fan] if self.steps[i].status == "held" and self.steps[i].why == "limit"]
        paused = self.runs[self.c.tasks[fan].run] == "paused"
        for i in waiting[:many]:
            self.change(i, status="held" if paused else "ready", why="pause" if paused else "")
        return bool(waiting) and not paused

    def check(self) -> None:
        """What must be true of every state."""
        failures = 0
        for r, status in enumerate(self.runs):
            for i in self.c.of_run[r]:
                step = self.steps[i]
                failures += step.failures
                self._check_step(i, step)
                may = (*DONE, "failed") if status == "succeeded" and self.is_item(i) else MAY_STAND.get(status)
                if may is not None and step.status not in may:
                    raise V(f"run {r} is {status}, its step {i} {step.status}")
        if failures > self.spent("fail"):
            raise V(f"{failures} failures are counted, {self.spent('fail')} have happened")

    def _check_step(self, i: int, step: Step) -> None:
        task = self.c.tasks[i]
        if (step.status in UNDER_WAY) != (step.token is not None):
            raise V(f"step {i} {step.status} with token {step.token}")
        if task.kind == "tx" and step.effects != (step.status in ("succeeded", "reported")) and self.mutant != "result_only_in_inbox":
            raise V(f"step {i} is {step.status} with {step.effects} effects")
        if step.buried != (step.status == "failed"):
            raise V(f"step {i} is {step.status} and has {'an open' if step.buried else 'no'} dead letter")
        if step.buried and step.failures != RETRIES + 1:
            raise V(f"step {i} failed for good after {step.failures} failures")
        if task.kind == "fan" and step.status == "waiting":
            left = [j for j in self.c.items[i] if self.steps[j].status not in ENDED]
            if step.items_left != len(left):
                raise V(f"fan-out {i} counts {step.items_left} items, and {len(left)} have not ended")
            flying = [j for j in left if self.steps[j].why != "limit"]
            if len(flying) > self.c.limit:
                raise V(f"fan-out {i} has {len(flying)} items under way, {self.c.limit} are allowed")

    def good_end(self) -> bool:
        """Everything is over and nothing lies about."""
        return (
            all(r in OVER or r == "unborn" for r in self.runs)
            and not any(self.inbox)
            and self.ghost is None
            and all(w == IDLE for w in self.workers)
        )


def rings_of(c: Configuration, i: int) -> set[Bell]:
    """The messages that say a step is ready: an item's is its fan-out's, and a fan-out has several under way."""
    task = c.tasks[i]
    if task.kind == "item":
        return {("items", task.of, 0)}
    if task.kind == "fan":
        return {("items", i, n) for n in range(WINDOW)}
    return {("step", i, 0)}


def blank(c: Configuration) -> State:
    """Before anything has begun."""
    steps = tuple(Step("blocked", len(task.after)) for task in c.tasks)
    runs = tuple("running" if r == 0 else "unborn" for r in range(len(c.of_run)))
    return State(runs, steps, ((),) * len(runs), frozenset(), (Worker(),) * c.workers, None, c.budget, frozenset())
