"""All orders in which the statements of two transactions can follow each other.

An order is a word of a times the letter 0 and b times the letter 1; there are C(a + b, a). Two orders that begin alike
are one and the same as soon as one of the two waits (the other goes on until it lets go, then the one that waited goes on to its
end) or has ended (what is left is the other's). So are two that differ only in when a BEGIN was sent that reads and locks
nothing, as on PostgreSQL. Such orders are driven once, and counted for as many as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import comb

from tests.interleaving.stopping import Actor

Word = list[int]
Blocked = Callable[[Actor, Actor], bool]  # whether the first waits for a lock of the second


@dataclass(frozen=True, slots=True)
class Driven:
    """One execution: the letters that decided it, the two transactions at their ends, and how many orders it stands for."""

    word: Word
    actors: tuple[Actor, Actor]
    orders: int

    @property
    def waited(self) -> bool:
        return any(actor.waited for actor in self.actors)

    def told(self) -> str:
        """The order, for whoever looks for the mistake."""
        return "".join(map(str, self.word))


def every_order(
    begin: Callable[[], tuple[Actor, Actor]], counts: tuple[int, int], idle: tuple[int, int], blocked: Blocked
) -> Iterator[Driven]:
    """Drive them all. `begin` puts the rows back and gives the two transactions anew; the first `idle` statements of each do nothing."""
    mattering = counts[0] - idle[0], counts[1] - idle[1]
    word: Word | None = []
    while word is not None:
        actors = begin()
        taken = drive(actors, mattering, idle, word, blocked)
        yield Driven(taken, actors, orders_that_begin(taken, mattering, idle))
        word = _next(taken, mattering[1])


def orders_that_begin(word: Word, counts: tuple[int, int], idle: tuple[int, int]) -> int:
    """How many orders begin with these letters, the idle ones left out, which may stand anywhere before the others of their transaction."""
    first = word[0]
    second = 1 - first
    if second in word:
        left = [counts[which] - word.count(which) for which in (0, 1)]
        return _places(word.index(second), idle[first], idle[second]) * comb(sum(left), left[0])
    return sum(
        _places(at, idle[first], idle[second]) * comb(counts[first] - at + counts[second] - 1, counts[second] - 1)
        for at in range(len(word), counts[first] + 1)
    )


def _places(at: int, idle_first: int, idle_second: int) -> int:
    """Where the idle statement of the second can stand, if `at` letters of the first come before its own."""
    return at + idle_first + 1 if idle_second else 1


def _next(taken: Word, many: int) -> Word | None:
    """The next beginning that differs: the last 0 that can be a 1."""
    for at in range(len(taken) - 1, -1, -1):
        if taken[at] == 0 and taken[:at].count(1) < many:
            return [*taken[:at], 1]
    return None


def drive(actors: tuple[Actor, Actor], counts: tuple[int, int], idle: tuple[int, int], word: Word, blocked: Blocked) -> Word:
    """Let the two go as the word says, and then in the first order it is the beginning of; gives the letters that mattered."""
    try:
        for which in (0, 1):
            actors[which].start()
            for _ in range(idle[which]):
                _step(actors, which, blocked)
        return _drive(actors, counts, word, blocked)
    except BaseException:
        for actor in actors:
            actor.set_free()
        raise


def _drive(actors: tuple[Actor, Actor], counts: tuple[int, int], word: Word, blocked: Blocked) -> Word:
    taken: Word = []
    left = list(counts)
    while all(actor.stand == "stopped" for actor in actors) and any(left):
        which = word[len(taken)] if len(taken) < len(word) else 0 if left[0] else 1
        taken.append(which)
        left[which] -= 1
        _step(actors, which, blocked)
        while not left[which] and actors[which].stand == "stopped" and actors[1 - which].stand == "stopped":
            _step(actors, which, blocked)  # it had to begin again: that goes on to its end, in no order
    _finish(actors, blocked)
    return taken


def _step(actors: tuple[Actor, Actor], which: int, blocked: Blocked) -> None:
    mine, other = actors[which], actors[1 - which]
    mine.let_go()
    mine.settle(lambda: blocked(mine, other))
    if other.stand == "waits":
        other.look_again(lambda: blocked(other, mine))


def _finish(actors: tuple[Actor, Actor], blocked: Blocked) -> None:
    """Nothing is left to choose: who holds goes on until it lets go, then who waited goes on to its end, then the rest."""
    waiting = next((which for which in (0, 1) if actors[which].stand == "waits"), None)
    if waiting is not None:
        while actors[waiting].stand == "waits":
            assert actors[1 - waiting].stand == "stopped", "both wait for each other"
            _step(actors, 1 - waiting, blocked)
        _to_the_end(actors, waiting, blocked)
    for which in (0, 1):
        _to_the_end(actors, which, blocked)


def _to_the_end(actors: tuple[Actor, Actor], which: int, blocked: Blocked) -> None:
    while actors[which].stand != "ended":
        assert "stopped" in (actors[0].stand, actors[1].stand), "both wait for each other"
        _step(actors, which if actors[which].stand == "stopped" else 1 - which, blocked)
