"""`python -m benchmarks.scale finished|fleet`: what grows with what lies in the tables, and with the number of workers."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from benchmarks import scale_finished, scale_fleet
from benchmarks.costs import Meter, meter
from benchmarks.servers import Servers, durable_servers
from tests.servers import caretaker


@click.group()
def main() -> None:
    """What grows with what lies in the tables, and with the number of workers."""


@main.command()
@click.option("--runs", default=1_000_000, show_default=True, help="Finished runs that are added.")
@click.option("--steps", default=4, show_default=True, help="Steps that each of them has left, of ten; and as many commits.")
@click.option("--rounds", default=5, show_default=True, help="How often each is measured before, and again after.")
def finished(runs: int, steps: int, rounds: int) -> None:
    """W1 and W2 on a database before and after very many finished runs lie in it, turn about with one that stays empty."""
    with _ready() as (servers, folder, costs):
        click.echo(scale_finished.measured(servers, folder, costs, runs, steps, rounds))


@main.command()
@click.option("--workers", default="1,2,4,8", show_default=True, help="How many workers of two children each.")
@click.option("--rounds", default=2, show_default=True, help="How often each is measured.")
@click.option("--chains", default=200, show_default=True, help="Chains of ten steps at once.")
@click.option("--items", default=5_000, show_default=True, help="Items of one fan-out.")
def fleet(workers: str, rounds: int, chains: int, items: int) -> None:
    """What a step costs the database while more and more workers share it: counts, connections, what backends wait for."""
    with _ready() as (servers, folder, costs):
        numbers = [int(number) for number in workers.split(",")]
        click.echo(scale_fleet.measured(servers, folder, costs, numbers, rounds, {"W2": chains, "W3_10000": items}))


@contextlib.contextmanager
def _ready() -> Iterator[tuple[Servers, Path, Meter]]:
    click.echo(f"load {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores", err=True)
    with contextlib.ExitStack() as stack:
        servers = stack.enter_context(durable_servers())
        folder = caretaker.own(Path(tempfile.mkdtemp(prefix="wf-scale-")))
        stack.callback(caretaker.remove, folder)
        yield servers, folder, stack.enter_context(meter(servers))


if __name__ == "__main__":
    main()
