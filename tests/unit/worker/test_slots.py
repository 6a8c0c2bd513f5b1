"""What a child writes of its attempts into the memory that it shares with its parent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID, uuid4

import billiard
import pytest

from wfcelery.worker.slots import SharedSlots


@pytest.fixture
def slots() -> Iterator[SharedSlots]:
    """Those of a worker, which this process is the parent of."""
    found = SharedSlots()
    found.open()
    yield found
    found.close()


def _in_a_child(slots: SharedSlots, act: Callable[[], None]) -> frozenset[UUID]:
    """Do it in a forked child at the first place of the pool; gives the tokens that its parent sees afterwards."""
    child = billiard.get_context("fork").Process(target=act)
    child.index = 0
    child.start()
    child.join()
    assert child.exitcode == 0
    (tokens,) = slots.children().values()
    return tokens


def test_a_token_is_renewed_until_its_attempt_is_over(slots: SharedSlots) -> None:
    first, second = uuid4(), uuid4()

    def act() -> None:
        slots.take(first)
        slots.take(second)
        slots.drop(first)

    assert _in_a_child(slots, act) == {second}


def test_a_new_child_is_not_taken_for_its_predecessor(slots: SharedSlots) -> None:
    left, own = uuid4(), uuid4()

    assert _in_a_child(slots, lambda: slots.take(left)) == {left}  # and it is killed while it executes
    assert _in_a_child(slots, lambda: slots.take(own)) == {own}


def test_a_token_that_a_repeated_transaction_takes_again_is_dropped_once(slots: SharedSlots) -> None:
    token, other = uuid4(), uuid4()

    def act() -> None:
        slots.take(token)
        slots.take(other)
        slots.take(token)
        slots.drop(token)

    assert _in_a_child(slots, act) == {other}


def test_a_place_is_free_where_it_begins_and_not_where_a_token_ends_in_zeros(slots: SharedSlots) -> None:
    tokens = [UUID(int=1 << 120), UUID(int=1 << 64), uuid4(), UUID(int=1)]

    def act() -> None:
        for token in tokens:
            slots.take(token)
        slots.drop(tokens[1])
        slots.take(tokens[2])

    assert _in_a_child(slots, act) == frozenset(tokens) - {tokens[1]}


def test_the_worker_is_known_by_the_name_that_it_was_given_last(slots: SharedSlots) -> None:
    for worker in (uuid4(), uuid4()):
        slots.known_as(worker)
        assert slots.identity()[0] == worker
