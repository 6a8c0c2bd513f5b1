"""What a step costs is what was recorded, to the statement: a guard that no busy machine can trip."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace

import psycopg
import pytest

from tests.acceptance.conftest import _a_broker, _a_database
from tests.counts import recording
from tests.counts.measuring import CHAIN, WIDTHS, Measured, bench
from tests.counts.wire import Wire

pytestmark = pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="only Linux tells who has come over a unix socket")


@pytest.fixture(scope="module")
def counted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Measured]]:
    """Every workload, once."""
    with ExitStack() as ends:
        database_url = _a_database(request, ends)
        counting = ends.enter_context(bench(database_url, _a_broker(request), tmp_path_factory.mktemp("counts")))
        yield counting.all()


@pytest.mark.parametrize("workload", sorted(recording.read()))
def test_a_run_costs_what_was_recorded(counted: dict[str, Measured], workload: str) -> None:
    wrong = recording.differences(workload, recording.read()[workload], counted[workload])
    assert not wrong, "\n".join(wrong)


def test_every_workload_is_recorded(counted: dict[str, Measured]) -> None:
    assert set(recording.read()) == set(counted)


def test_a_chain_at_once_with_others_costs_what_one_alone_does(counted: dict[str, Measured]) -> None:
    assert counted["W2"].cost == counted["W1"].cost
    print(f"a step of a chain: {counted['W1'].cost.statements / CHAIN:.1f} statements, {counted['W1'].cost.rows / CHAIN:.1f} rows")


def test_an_item_of_a_large_fan_out_costs_no_more_statements_than_one_of_a_small(counted: dict[str, Measured]) -> None:
    small, large = (counted[f"W3_{width}"].cost for width in WIDTHS)
    each = [cost.statements / width for cost, width in zip((small, large), WIDTHS, strict=True)]
    more = (large.statements - small.statements) / (WIDTHS[1] - WIDTHS[0])

    print(f"statements an item: {each[0]:.2f} of {WIDTHS[0]}, {each[1]:.2f} of {WIDTHS[1]}; each one more: {more:.2f}")
    assert each[1] <= each[0]
    assert more < 1
    assert large.messages == small.messages


def test_a_number_that_rose_or_fell_is_named_with_the_command_that_records_anew(counted: dict[str, Measured]) -> None:
    recorded, found = recording.read()["W1"], counted["W1"]
    cheaper = replace(recorded, messages=recorded.messages + 1)

    told = recording.differences("W1", cheaper, Measured(recorded, found.texts))
    assert told[0] == f"W1: messages fell from {recorded.messages + 1} to {recorded.messages}"
    assert recording.COMMAND in told[1]


def test_the_wire_counts_statements_and_round_trips_of_each_process(postgres_url: str) -> None:
    with closing(Wire(postgres_url)) as wire:
        address = wire.url.replace("postgresql+psycopg://", "postgresql://", 1)
        with psycopg.connect(address, autocommit=True, prepare_threshold=None) as connection:
            for number in range(3):
                connection.execute("select %s::int", [number])
            alone = wire.sent_by(os.getpid())
            with connection.pipeline():
                for number in range(5):
                    connection.execute("select %s::int", [number])
            together = wire.sent_by(os.getpid())
    assert (alone.statements, alone.round_trips) == ({"select $1::int": 3}, 3)
    assert (together.statements.total() - 3, together.round_trips - 3) == (5, 1)
