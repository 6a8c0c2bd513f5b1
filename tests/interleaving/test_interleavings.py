"""Every pair of the engine's transactions on one run, statement by statement, in all orders, on both databases."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import database_on
from tests.interleaving.judging import Judge
from tests.interleaving.orders import drive, orders_that_begin
from tests.interleaving.scene import Scene, scene_on
from tests.interleaving.transactions import PAIRS, TRANSACTIONS, Pair, is_short, named
from tests.mutants.run import Patch, copy_of_the_tree, patches, red
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
        with scene_on(server.url(server.create_database(request.getfixturevalue("_postgres_template")))) as made:
            yield made


def _names(pair: Pair) -> str:
    return "+".join(transaction.name for transaction in pair)


def _hold(scene: Scene, pair: Pair, tell: Callable[[str, object], None]) -> None:
    found = Judge(scene, pair)()
    for name in ("orders", "driven", "waited"):
        tell(name, getattr(found, name))
    tell("database", scene.database.dialect)
    tell("told", f"{found.orders} orders of {found.counts[0]} and {found.counts[1]} statements, {found.waited} with a wait")
    assert found.wrong == []
    assert found.orders == found.binomial
    if all(transaction.locks for transaction in pair):
        assert found.repeated == 0, "who has waited for the run's lock decides once"
        assert found.waited > 0 or any(transaction.passes for transaction in pair)


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if is_short(pair)], ids=_names)
def test_a_pair_comes_to_the_same_in_every_order(scene: Scene, pair: Pair, record_property: Callable[[str, object], None]) -> None:
    _hold(scene, pair, record_property)


@pytest.mark.long
@pytest.mark.parametrize("pair", [pair for pair in PAIRS if not is_short(pair)], ids=_names)
def test_any_other_pair_comes_to_the_same_in_every_order(scene: Scene, pair: Pair, record_property: Callable[[str, object], None]) -> None:
    _hold(scene, pair, record_property)


def test_every_pair_is_there_once() -> None:
    many = len(TRANSACTIONS)
    assert len({_names(pair) for pair in PAIRS}) == len(PAIRS) == many * (many + 1) // 2


@pytest.mark.parametrize("pair", [named("T3-claim", "T3-claim"), named("T5-finish-fast", "T9-put")], ids=_names)
def test_orders_that_are_driven_as_one_come_to_the_same(scene: Scene, pair: Pair) -> None:
    """The same pair with nothing left out: each of the words, letter by letter."""
    judge = Judge(scene, pair)
    found = judge()
    words = _words(*found.counts)
    assert len(words) == found.binomial
    states = set()
    for word in words:
        drive(judge.begin(), found.counts, (0, 0), word, scene.blocked)
        states.add(scene.state())
    assert states == found.states


@pytest.mark.parametrize("counts", [(3, 3), (1, 4), (4, 2), (2, 6)])
@pytest.mark.parametrize("idle", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_orders_are_counted_rightly(counts: tuple[int, int], idle: tuple[int, int]) -> None:
    words = _words(counts[0] + idle[0], counts[1] + idle[1])
    for beginning in ([0], [1], [0, 1], [1, 0], [0, 0, 1][: counts[0] + 1]):
        if beginning.count(0) <= counts[0]:
            begin_so = [word for word in words if _without_the_idle(word, idle)[: len(beginning)] == beginning]
            assert orders_that_begin(beginning, counts, idle) == len(begin_so)


def _words(a: int, b: int) -> list[list[int]]:
    if not a or not b:
        return [[0] * a + [1] * b]
    return [[0, *word] for word in _words(a - 1, b)] + [[1, *word] for word in _words(a, b - 1)]


def _without_the_idle(word: list[int], idle: tuple[int, int]) -> list[int]:
    left = list(word)
    for which in (0, 1):
        if idle[which]:
            left.remove(which)
    return left


# -- mistakes with the lock ------------------------------------------------------------------------------------------------

MISTAKES = patches(Path(__file__).parent / "mutants")


@pytest.fixture(scope="module")
def copy() -> Iterator[Path]:
    with copy_of_the_tree() as made:
        yield made


@pytest.mark.long
@pytest.mark.parametrize("patch", MISTAKES, ids=lambda patch: patch.name)
def test_a_mistake_with_the_lock_is_found_by_an_order(copy: Path, patch: Patch) -> None:
    assert red(patch, copy) is None
