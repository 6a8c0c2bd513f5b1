"""`python -m benchmarks`: every workload on every side, turn about, in one run."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from benchmarks import report, tables
from benchmarks.cells import UNFINISHED, Cell, Journal, Plan, commit, machine, unfinished
from benchmarks.costs import Meter, meter
from benchmarks.processes import NoFigureError, Running
from benchmarks.servers import Servers, durable_servers
from benchmarks.sides.catalogue import BY_NAME
from benchmarks.sides.peers.catalogue import EVERYONE, PEERS_BY_NAME, Peer
from benchmarks.taking_part import Absent, taking_part
from benchmarks.workloads import WARM_UP, WORKLOADS, Workload
from tests.servers import caretaker

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for."""

    sides: list[str]
    workloads: list[Workload]
    rounds: int
    quick: bool

    def size(self, workload: Workload) -> int:
        return workload.quick_size if self.quick else workload.size

    def plan(self, servers: Servers) -> Plan:
        sizes = tuple((workload.name, self.size(workload)) for workload in self.workloads)
        return Plan(*commit(), tuple(self.sides), sizes, self.rounds, servers.facts, machine())


@click.command()
@click.option("--rounds", default=5, show_default=True, help="How often each cell is measured.")
@click.option("--sides", default=",".join(BY_NAME), show_default=True, help=f"Which sides take part; also {', '.join(PEERS_BY_NAME)}.")
@click.option("--peers", is_flag=True, help="Other engines too, each in an environment that is made when it is first needed.")
@click.option(
    "--workloads", default=",".join(w.name for w in WORKLOADS), show_default=True, help="Which workloads; W3 and W6 for all sizes."
)
@click.option("--quick", is_flag=True, help="Small sizes and one round: shows that it runs; keeps nothing unless --results says where.")
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), help="Where cells and results are kept.  [benchmarks/results]")
@click.option("--record/--no-record", default=True, help="Whether anything is kept.")
@click.option(
    "--resume", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Go on with this unfinished benchmark, or fail."
)
@click.option("--fresh", is_flag=True, help="Begin anew, even if one with the same plan was broken off.")
def main(
    rounds: int, sides: str, peers: bool, workloads: str, quick: bool, results: Path | None, record: bool, resume: Path | None, fresh: bool
) -> None:
    """Measure wfcelery beside raw Celery and the floor, and print medians, spreads, ratios and costs.

    One that is broken off goes on by itself when the same is asked for again at the same commit. A side that cannot run is in
    the table with its command and its error; the others go on.
    """
    named = _among(sides, list(EVERYONE))
    taking = [side for side in EVERYONE if side in named or (peers and side in PEERS_BY_NAME)]
    asked = Asked(taking, _chosen(workloads), 1 if quick else rounds, quick)
    folder = (results or (None if quick else RESULTS)) if record else None
    with durable_servers() as servers:
        click.echo(f"load {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores; {_facts(servers)}", err=True)
        journal = _journal(asked.plan(servers), folder, resume, fresh)
        _measure_all(asked, servers, journal)
    _close(asked, journal)
    sys.exit(1 if any(cell.side in BY_NAME for cell in report.Report(journal.cells).lost()) else 0)


def _measure_all(asked: Asked, servers: Servers, journal: Journal) -> None:
    with contextlib.ExitStack() as stack:
        folder = caretaker.own(Path(tempfile.mkdtemp(prefix="wf-bench-")))
        stack.callback(caretaker.remove, folder)
        costs = stack.enter_context(meter(servers))
        sides = [_begun(stack, asked, servers, folder, side) for side in asked.sides]
        for round_ in range(1, asked.rounds + 1):
            for workload in asked.workloads:
                if round_ == 1 or not workload.once:
                    _one_turn(journal, costs, round_, sides, workload, asked.size(workload))


def _begun(stack: contextlib.ExitStack, asked: Asked, servers: Servers, folder: Path, name: str) -> Running | Absent:
    side = stack.enter_context(taking_part(EVERYONE[name], servers, folder, lambda side: _warm(asked, side)))
    if isinstance(side, Absent):
        click.echo(f"{side.setup.label} cannot run: {side.command}\n{side.said}", err=True)
    return side


def _warm(asked: Asked, side: Running) -> None:
    side.measure(WARM_UP.name, asked.size(WARM_UP))
    for workload in asked.workloads:
        if workload.warm_first and workload.name not in side.setup.lacks:
            # What goes wrong here goes wrong in its cell too, which says so.
            with contextlib.suppress(NoFigureError):
                side.measure(workload.name, asked.size(workload))


def _one_turn(journal: Journal, costs: Meter, round_: int, sides: list[Running | Absent], workload: Workload, size: int) -> None:
    """One workload on every side that can do it, and has not lost any of it in an earlier round: it has no figure any more."""
    lost = {cell.side for cell in journal.cells if cell.workload == workload.name and cell.error is not None and cell.round < round_}
    able = [side for side in sides if workload.name not in side.setup.lacks and side.setup.name not in lost]
    measured = {cell.side for cell in journal.turn(round_, workload.name)}
    if measured >= {side.setup.name for side in able}:
        return
    if measured:
        journal.forget(round_, workload.name)
    # Turn about: whoever goes first in one round goes later in the next.
    first = (round_ - 1) % len(able) if able else 0
    for side in able[first:] + able[:first]:
        cell = _one_cell(costs, round_, side, workload, size)
        journal.add(cell)
        told = f"{cell.figure:10.2f} {workload.unit}" if cell.figure is not None else f"no figure: {cell.error}"
        told = "cannot run" if isinstance(side, Absent) else told
        click.echo(f"round {round_}  {workload.name:9} {side.setup.label:22} {told}", err=True)


def _one_cell(costs: Meter, round_: int, side: Running | Absent, workload: Workload, size: int) -> Cell:
    name = side.setup.name
    if isinstance(side, Absent):
        return Cell(round_, name, workload.name, size, None, 0, error=side.said, command=side.command)
    try:
        with side.awake():
            _stretch(side)
            with costs.watching(side) as spent:
                measured = side.measure(workload.name, size)
    except NoFigureError as error:
        return Cell(round_, name, workload.name, size, None, 0, error=str(error))
    return Cell.costing(round_, name, workload, size, measured.figure, measured.answers, measured.steps, spent[0])


def _stretch(side: Running) -> None:
    """Whoever stood still until now does a little first, unmeasured: its connections and timers find themselves again."""
    if isinstance(side.setup, Peer):
        side.measure(WARM_UP.name, 1)


def _journal(plan: Plan, folder: Path | None, resume: Path | None, fresh: bool) -> Journal:
    found = Journal.read(resume) if resume else None
    if found is not None and found.plan != plan:
        raise click.ClickException(f"{resume} measured something else, or another commit: {_difference(found.plan, plan)}")
    if found is None and folder is not None and not fresh:
        found = unfinished(folder, plan)
    if found is not None:
        click.echo(f"going on after {len(found.cells)} cells of {found.path}", err=True)
        return found
    now = datetime.now(UTC)
    path = folder / f"{now:%Y%m%dT%H%M%SZ}{UNFINISHED}" if folder else None
    return Journal.begun(path, now.isoformat(timespec="seconds"), plan)


def _difference(old: Plan, new: Plan) -> str:
    fields = [name for name in Plan.__slots__ if getattr(old, name) != getattr(new, name)]
    return ", ".join(f"{name} {getattr(old, name)!r}, now {getattr(new, name)!r}" for name in fields)


def _close(asked: Asked, journal: Journal) -> None:
    found, recorded = report.Report(journal.cells), None
    if journal.path is not None:
        recorded = journal.path.with_name(journal.path.name.removesuffix(UNFINISHED) + ".json")
        report.write(recorded, journal)
        journal.close()
    click.echo(tables.all_of(found, asked.sides))
    others = found.other_cores()
    click.echo(f"\n{found.answers()} answers checked, {len(found.lost())} cells without a figure", nl=False)
    click.echo("" if others is None else f"; other work kept {others:.2f} cores busy")
    if recorded is not None:
        click.echo(f"recorded in {recorded}")
    if asked.quick:
        click.echo("quick: the sizes are too small for these to be figures")


def _chosen(words: str) -> list[Workload]:
    known = {workload.name for workload in WORKLOADS}
    families = {name.partition("_")[0] for name in known}
    named = _among(words, sorted(known | families))
    return [workload for workload in WORKLOADS if {workload.name, workload.name.partition("_")[0]} & set(named)]


def _among(words: str, known: list[str]) -> list[str]:
    chosen = [word.strip() for word in words.split(",")]
    if unknown := set(chosen) - set(known):
        raise click.BadParameter(f"{', '.join(sorted(unknown))}: not one of {', '.join(known)}")
    return chosen


def _facts(servers: Servers) -> str:
    return ", ".join(f"{name} {value}" for name, value in servers.facts.items())


if __name__ == "__main__":
    main()
