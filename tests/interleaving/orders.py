"""All orders in which the statements of two transactions can follow each other.

An order is a word of a times the letter 0 and b times the letter 1; there are C(a + b, a). Two orders are one and the same if one
becomes the other by exchanging neighbours that do not mind each other (`footprints`); or if they begin alike up to where one of the
two waits (the other goes on until it lets go, then the one that waited goes on to its end) or has ended (what is left is the
other's). Of each such class one order is driven: a race that was seen, of two statements that mind each other with nothing in
between that says which must be first, is turned round in another execution (dynamic partial order reduction; with two it is
optimal: no class is driven twice). How many orders a class has is counted; the sum over all classes must be the binomial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.interleaving.footprints import Step
from tests.interleaving.stopping import Actor

Word = list[int]
Blocked = Callable[[Actor, Actor], bool]  # whether the first waits for a lock of the second


@dataclass(slots=True)
class Letter:
    """One letter that was executed: which transaction's, the how-manieth of it, and its statements (the last letter has all the rest)."""

    which: int
    number: int
    steps: list[Step]

    def minds(self, other: Letter) -> bool:
        return any(mine.minds(its) for mine in self.steps for its in other.steps)


@dataclass(slots=True)
class Driven:
    """One execution: the letters that decided it, the two transactions at their ends, and all that was executed."""

    actors: tuple[Actor, Actor]
    counts: tuple[int, int]
    word: Word = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    waiter: tuple[int, int] | None = None  # whose letter waited first

    @property
    def waited(self) -> bool:
        return self.waiter is not None

    def told(self) -> str:
        """The order, for whoever looks for the mistake."""
        return "".join(map(str, self.word))

    def execute(self, which: int) -> None:
        """The next statement of this one is about to be executed."""
        number = min(self.actors[which].done, self.counts[which] - 1)
        step = self.actors[which].steps[-1]
        found = next((letter for letter in self.letters if (letter.which, letter.number) == (which, number)), None)
        if found is None:
            self.letters.append(Letter(which, number, [step]))
        else:
            found.steps.append(step)

    def chosen(self) -> list[Letter]:
        """The letters whose place somebody chose: after one has waited, the rest of it is not."""
        if self.waiter is None:
            return self.letters
        return [letter for letter in self.letters if letter.which != self.waiter[0] or letter.number <= self.waiter[1]]

    def needs(self) -> tuple[list[int], list[int]]:
        """For each letter of the two, how many of the other must be before it, so that no two that mind each other change places."""
        needs: tuple[list[int], list[int]] = [0] * self.counts[0], [0] * self.counts[1]
        letters = self.chosen()
        for at, later in enumerate(letters):
            for earlier in letters[:at]:
                if earlier.which != later.which and earlier.minds(later):
                    needs[later.which][later.number] = max(needs[later.which][later.number], earlier.number + 1)
        return needs

    @property
    def orders(self) -> int:
        """How many orders are as this one: the paths from (0, 0) to (a, b) that keep to what its letters need."""
        needs, (a, b) = self.needs(), self.counts
        ways = [[0] * (b + 1) for _ in range(a + 1)]
        for x in range(a + 1):
            for y in range(b + 1):
                ways[x][y] = int(x == y == 0)
                if x and needs[0][x - 1] <= y:
                    ways[x][y] += ways[x - 1][y]
                if y and needs[1][y - 1] <= x:
                    ways[x][y] += ways[x][y - 1]
        return ways[a][b]

    def stands_for(self, word: Word) -> bool:
        """Whether an order, written out, is as this one."""
        needs, done = self.needs(), [0, 0]
        for which in word:
            if needs[which][done[which]] > done[1 - which]:
                return False
            done[which] += 1
        return True

    def other_way(self, at: int) -> int | None:
        """How many letters of the other, put before the one that was chosen here, turn a race with it round; None where there is none."""
        letters = self.chosen()
        before, many = [letters[at]], 0
        for letter in letters[at + 1 :]:
            if letter.which == letters[at].which:
                before.append(letter)
                continue
            many += 1
            minding = [one for one in before if one.minds(letter)]
            if minding:
                return many if minding == [letters[at]] else None
        return None


@dataclass(slots=True)
class Choice:
    """A letter of the word that is explored: whether the other one here would be the same over again, and else how to go there."""

    which: int
    closed: bool = False
    other_way: int | None = None


def every_order(begin: Callable[[], tuple[Actor, Actor]], counts: tuple[int, int], blocked: Blocked) -> Iterator[Driven]:
    """Drive one of each class. `begin` puts the rows back and gives the two transactions anew."""
    path: list[Choice] = []
    while True:
        driven = drive(begin(), counts, [choice.which for choice in path], blocked)
        path += [Choice(which) for which in driven.word[len(path) :]]
        for at, choice in enumerate(path):
            if not choice.closed and choice.other_way is None:
                choice.other_way = driven.other_way(at)
        yield driven
        last = max((at for at, choice in enumerate(path) if not choice.closed and choice.other_way is not None), default=None)
        if last is None:
            return
        choice = path[last]
        assert choice.other_way is not None
        path[last:] = [Choice(1 - choice.which, closed=True)] * choice.other_way


def drive(actors: tuple[Actor, Actor], counts: tuple[int, int], word: Word, blocked: Blocked) -> Driven:
    """Let the two go as the word says, and then in the first order it is the beginning of."""
    driven = Driven(actors, counts)
    try:
        for actor in actors:
            actor.start()
        _drive(driven, word, blocked)
    except BaseException:
        for actor in actors:
            actor.set_free()
        raise
    return driven


def _drive(driven: Driven, word: Word, blocked: Blocked) -> None:
    actors, taken = driven.actors, driven.word
    left = list(driven.counts)
    while all(actor.stand == "stopped" for actor in actors) and any(left):
        which = word[len(taken)] if len(taken) < len(word) else 0 if left[0] else 1
        taken.append(which)
        left[which] -= 1
        _step(driven, which, blocked)
        while not left[which] and actors[which].stand == "stopped" and actors[1 - which].stand == "stopped":
            _step(driven, which, blocked)  # it had to begin again: that goes on to its end, in no order
    _finish(driven, blocked)


def _step(driven: Driven, which: int, blocked: Blocked) -> None:
    mine, other = driven.actors[which], driven.actors[1 - which]
    driven.execute(which)
    mine.let_go()
    mine.settle(lambda: blocked(mine, other), other.held)
    if mine.stand == "waits" and driven.waiter is None:
        driven.waiter = which, min(mine.done, driven.counts[which] - 1)
    if other.stand == "waits":
        other.look_again(lambda: blocked(other, mine), mine.held)


def _finish(driven: Driven, blocked: Blocked) -> None:
    """Nothing is left to choose: who holds goes on until it lets go, then who waited goes on to its end, then the rest."""
    actors = driven.actors
    waiting = next((which for which in (0, 1) if actors[which].stand == "waits"), None)
    if waiting is not None:
        while actors[waiting].stand == "waits":
            assert actors[1 - waiting].stand == "stopped", "both wait for each other"
            _step(driven, 1 - waiting, blocked)
        _to_the_end(driven, waiting, blocked)
    for which in (0, 1):
        _to_the_end(driven, which, blocked)


def _to_the_end(driven: Driven, which: int, blocked: Blocked) -> None:
    actors = driven.actors
    while actors[which].stand != "ended":
        assert "stopped" in (actors[0].stand, actors[1].stand), "both wait for each other"
        _step(driven, which if actors[which].stand == "stopped" else 1 - which, blocked)
