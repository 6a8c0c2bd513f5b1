"""A pair of transactions, in all orders: each must leave the rows as one of the two would after the other, and lead to a right end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import comb

from tests.interleaving.orders import Driven, every_order
from tests.interleaving.scene import Scene
from tests.interleaving.stopping import Actor
from tests.interleaving.transactions import Pair

State = tuple[str, ...]


@dataclass(slots=True)
class Found:
    """What all orders of a pair came to."""

    pair: Pair
    counts: tuple[int, int] = (0, 0)  # statements of each, alone
    orders: int = 0  # that were driven, alone or as one with others
    driven: int = 0  # executions
    waited: int = 0  # orders in which one waited for the other's lock
    repeated: int = 0  # orders in which one had to begin again
    states: set[State] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    @property
    def binomial(self) -> int:
        return comb(sum(self.counts), self.counts[0])

    def line(self) -> str:
        one, other = (transaction.name for transaction in self.pair)
        a, b = self.counts
        return (
            f"{one:18} {other:18} {a:3} {b:3} {self.orders:9} {self.driven:6} {self.waited:9} {self.repeated:7} {len(self.states):4}"
            f"  {'WRONG' if self.wrong or self.orders != self.binomial else 'right'}"
        )


HEAD = f"{'transaction':18} {'transaction':18} {'a':>3} {'b':>3} {'C(a+b,a)':>9} {'driven':>6} {'waited':>9} {'again':>7} ends  result"


class Judge:
    """Drives a pair through all of its orders, and says what is wrong."""

    def __init__(self, scene: Scene, pair: Pair, to_the_end: bool = True) -> None:
        self.scene, self.pair, self.found, self.to_the_end = scene, pair, Found(pair), to_the_end
        self.classes: list[tuple[Driven, State]] = []  # what was driven, and what it came to

    def __call__(self) -> Found:
        scene, found = self.scene, self.found
        scene.arrange(*(transaction.prepare for transaction in self.pair if transaction.prepare is not None))
        ones = [self._one_after_the_other(sides) for sides in ([0, 1], [1, 0])]
        first = [actors[0] for _, actors in ones]  # as it is alone
        found.counts = len(first[0].statements), len(first[1].statements)
        assert min(found.counts) > 0, "a transaction without a statement: what it sends is not seen"
        right = {state for state, _ in ones}
        right |= {self._one_after_the_other([1 - side])[0] for side in (0, 1) if self.pair[side].passes}
        for driven in every_order(self.begin, found.counts, scene.blocked):
            found.orders += driven.orders
            found.driven += 1
            found.waited += driven.orders * driven.waited
            again = [actor.begun > first[side].begun for side, actor in enumerate(driven.actors)]
            found.repeated += driven.orders * any(again)
            self._judge(driven, right)
        return found

    def begin(self) -> tuple[Actor, Actor]:
        """The rows put back, and the two transactions anew."""
        self.scene.put_back("now")
        one, other = (Actor(transaction.make(self.scene, side), self.scene.runs) for side, transaction in enumerate(self.pair))
        return one, other

    def _one_after_the_other(self, sides: Sequence[int]) -> tuple[State, list[Actor]]:
        actors = self.begin()
        for side in sides:
            actor = actors[side]
            actor.start()
            while actor.stand != "ended":
                actor.let_go()
                actor.settle(lambda: False)
            self._raised(actor, side, "one after the other")
        return self.scene.state(), [actors[side] for side in sides]

    def _raised(self, actor: Actor, side: int, when: str) -> None:
        if actor.error is not None and not isinstance(actor.error, self.pair[side].raises):
            said = str(actor.error).splitlines()
            self.found.wrong.append(f"{when}: {self.pair[side].name} raised {type(actor.error).__name__}: {said[0] if said else ''}")

    def _judge(self, driven: Driven, right: set[State]) -> None:
        before = len(self.found.wrong)
        for side, actor in enumerate(driven.actors):
            self._raised(actor, side, driven.told())
        state = self.scene.state()
        self.classes.append((driven, state))
        if state not in right:
            self.found.wrong.append(f"{driven.told()}: as after neither order: {_difference(state, right)}")
        if state not in self.found.states:
            self.found.states.add(state)
            self.found.wrong += [f"{driven.told()}: {problem}" for problem in self._ends_wrongly()]
        if len(self.found.wrong) > before and len(self.found.wrong) > 20:
            raise AssertionError("\n".join(self.found.wrong))

    def _ends_wrongly(self) -> list[str]:
        """The run is brought to its end from here; what leads there depends on the rows alone, so once for each state of them."""
        problems = [f"at once: {problem}" for problem in self.scene.problems()]
        if not self.to_the_end:
            return problems
        status = self.scene.end()
        wanted = {transaction.ends for transaction in self.pair}
        if len(wanted) > 1:
            wanted.discard("succeeded")
        if status not in wanted:
            problems.append(f"the run ends {status}, not {' or '.join(sorted(wanted))}")
        return problems + [f"at its end: {problem}" for problem in self.scene.problems()]


def _difference(state: State, right: set[State]) -> str:
    nearest = min(right, key=lambda other: len(set(state) ^ set(other)))
    return f"{sorted(set(state) - set(nearest))} instead of {sorted(set(nearest) - set(state))}"
