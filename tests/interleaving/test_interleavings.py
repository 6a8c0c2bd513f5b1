"""Every pair of the engine's transactions on one run, statement by statement, in all orders, on both databases."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import database_on
from tests.interleaving.footprints import NOTHING, Footprint
from tests.interleaving.judging import Judge
from tests.interleaving.orders import Word, drive
from tests.interleaving.scene import Scene, scene_on
from tests.interleaving.transactions import PAIRS, TRANSACTIONS, Pair, Transaction, is_short, named
from wfcelery.store import migrations
from wfcelery.store.database import Database


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One for all tests of this file: each begins with its own rows."""
    given = os.environ.get("WFCELERY_TEST_POSTGRES_URL")
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("orders") / "workflows.db"
        shutil.copy(request.getfixturevalue("_sqlite_template"), path)
        with scene_on(f"sqlite:///{path}") as made:
            yield made
    elif given is not None:
        with contextmanager(database_on)(given) as url:
            migrations.upgrade(Database(url))
            with scene_on(url) as made:
                yield made
    else:
        server = request.getfixturevalue("_own_postgres").ensure_running()
        with scene_on(server.socket_url(server.create_database(request.getfixturevalue("_postgres_template")))) as made:
            yield made


def _names(pair: Pair) -> str:
    return "+".join(transaction.name for transaction in pair)


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if is_short(pair)], ids=_names)
def test_a_pair_comes_to_the_same_in_every_order(scene: Scene, pair: Pair, record_property: Callable[[str, object], None]) -> None:
    """Each state is right for the moment on both databases; to its end it goes on SQLite, and in the long check on both."""
    found = Judge(scene, pair, to_the_end=scene.database.dialect == "sqlite")()
    for name in ("orders", "driven", "waited"):
        record_property(name, getattr(found, name))
    record_property("database", scene.database.dialect)
    assert found.wrong == []
    assert found.orders == found.binomial
    if all(transaction.locks for transaction in pair):
        assert found.repeated == 0, "who has waited for the run's lock decides once"
        assert found.waited > 0 or any(transaction.passes for transaction in pair)


def test_every_pair_is_there_once() -> None:
    many = len(TRANSACTIONS)
    assert len({_names(pair) for pair in PAIRS}) == len(PAIRS) == many * (many + 1) // 2


# -- what is driven as one ---------------------------------------------------------------------------------------------------


def _each_order_is_as_its_own(scene: Scene, pair: Pair, words: Callable[[int, int], Iterable[Word]], to_the_end: bool = False) -> None:
    """Orders, letter by letter and with nothing left out: each is of one class, and comes to what that class came to."""
    judge = Judge(scene, pair, to_the_end)
    found = judge()
    assert (found.wrong, found.orders) == ([], found.binomial)
    for word in words(*judge.found.counts):
        [(_, state)] = [(driven, state) for driven, state in judge.classes if driven.stands_for(word)]
        drive(judge.begin(), judge.found.counts, word, scene.blocked)
        assert scene.state() == state, "".join(map(str, word))


@pytest.mark.parametrize(
    "pair", [named("T3-claim", "T3-claim"), named("T5-finish-fast", "T9-put"), named("T7-report", "T9-put")], ids=_names
)
def test_orders_that_are_driven_as_one_come_to_the_same(scene: Scene, pair: Pair) -> None:
    _each_order_is_as_its_own(scene, pair, _words)


@pytest.mark.parametrize(
    "pair", [named("T3-claim", "T5-finish"), named("T5-finish", "T7-ring"), named("T5-finish", "T10-drain-cancel")], ids=_names
)
def test_orders_by_chance_come_to_what_was_driven_for_them(scene: Scene, pair: Pair) -> None:
    """Pairs of which few executions stand for very many orders."""
    _each_order_is_as_its_own(scene, pair, lambda a, b: _by_chance(a, b, 25))


@pytest.mark.long
@pytest.mark.parametrize("pair", PAIRS, ids=_names)
def test_orders_of_any_pair_come_to_what_was_driven_for_them(scene: Scene, pair: Pair) -> None:
    _each_order_is_as_its_own(scene, pair, lambda a, b: _by_chance(a, b, 100), to_the_end=True)


def test_orders_are_counted_rightly(scene: Scene) -> None:
    """Each order of a pair has one class, and a class has as many orders as it says."""
    for pair in (named("T3-claim", "T7-ring"), named("T5-finish", "T9-put"), named("T5-finish-fast", "T3-claim-group")):
        judge = Judge(scene, pair, to_the_end=False)
        judge()
        often = Counter(
            number for word in _words(*judge.found.counts) for number, (one, _) in enumerate(judge.classes) if one.stands_for(word)
        )
        assert dict(often) == {number: driven.orders for number, (driven, _) in enumerate(judge.classes)}
        assert often.total() == judge.found.binomial


@pytest.mark.parametrize("scene", ["postgresql"], indirect=True)  # SQLite locks the whole file
@pytest.mark.parametrize("transaction", TRANSACTIONS, ids=lambda transaction: transaction.name)
def test_every_row_that_a_statement_locks_is_in_its_footprint(scene: Scene, transaction: Transaction) -> None:
    """PostgreSQL notes on each row who has locked it last."""
    judge = Judge(scene, (transaction, transaction))
    scene.arrange(*([transaction.prepare] if transaction.prepare is not None else []))
    actor, _ = judge.begin()
    before, locked = scene.lockers(), NOTHING
    actor.start()
    while actor.stand != "ended":
        locked |= actor.steps[-1].own
        actor.let_go()
        actor.settle(lambda: False)
        if actor.held is not NOTHING:
            met = Footprint(locks=frozenset((place, "whole") for place, by in scene.lockers().items() if before.get(place) != by))
            assert all(Footprint(locks=frozenset({lock})).waits_for(locked) for lock in met.locks), (actor.statements[-2], met)


def _words(a: int, b: int) -> list[Word]:
    if not a or not b:
        return [[0] * a + [1] * b]
    return [[0, *word] for word in _words(a - 1, b)] + [[1, *word] for word in _words(a, b - 1)]


def _by_chance(a: int, b: int, many: int) -> list[Word]:
    chance = random.Random(f"{a} {b}")
    return [chance.sample([0] * a + [1] * b, a + b) for _ in range(many)]
