"""`python -m benchmarks`: every workload on both sides, turn about, in one run."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click

from benchmarks.processes import Caller, NoFigureError, side_running
from benchmarks.report import LABELS, SIDES, Report, table
from benchmarks.servers import Servers, durable_servers
from benchmarks.workloads import WARM_UP, WORKLOADS, Workload

RESULTS = Path(__file__).parent / "results"


@click.command()
@click.option("--rounds", default=3, show_default=True, help="How often each cell is measured.")
@click.option("--sides", default=",".join(SIDES), show_default=True, help="Which sides take part.")
@click.option("--workloads", default=",".join(w.name for w in WORKLOADS), show_default=True, help="Which workloads are run.")
@click.option("--quick", is_flag=True, help="Small sizes and one round: shows that it runs, records nothing.")
@click.option("--record/--no-record", default=True, help="Keep the figures in benchmarks/results.")
def main(rounds: int, sides: str, workloads: str, quick: bool, record: bool) -> None:
    """Measure wfcelery beside raw Celery and print medians and ratios."""
    chosen = [workload for workload in WORKLOADS if workload.name in _among(workloads, [w.name for w in WORKLOADS])]
    taking_part = _among(sides, SIDES)
    rounds = 1 if quick else rounds
    with durable_servers() as servers:
        click.echo(_opening(servers), err=True)
        path = RESULTS / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json" if record and not quick else None
        report = Report(path, servers.facts)
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wf-bench-")))
            callers = {side: stack.enter_context(side_running(side, servers, folder)) for side in taking_part}
            for caller in callers.values():
                caller.measure(WARM_UP.name, WARM_UP.quick_size if quick else WARM_UP.size)
            for round_ in range(1, rounds + 1):
                _one_round(report, round_, callers, chosen, quick)
    click.echo(table(report))
    click.echo(_closing(servers, report, quick))
    sys.exit(1 if report.lost() else 0)


def _one_round(report: Report, round_: int, callers: dict[str, Caller], chosen: list[Workload], quick: bool) -> None:
    for workload in chosen:
        # Turn about: whoever goes first in one round goes second in the next.
        for side in list(callers)[:: 1 if round_ % 2 else -1]:
            _one_cell(report, round_, side, callers[side], workload, workload.quick_size if quick else workload.size)


def _one_cell(report: Report, round_: int, side: str, caller: Caller, workload: Workload, size: int) -> None:
    try:
        measured = caller.measure(workload.name, size)
    except NoFigureError as error:
        report.add(round_, side, workload, size, None, str(error))
        click.echo(f"round {round_}  {workload.name:9} {LABELS[side]:11} no figure: {error}", err=True)
    else:
        report.add(round_, side, workload, size, measured)
        click.echo(f"round {round_}  {workload.name:9} {LABELS[side]:11} {measured.figure:10.2f} {workload.unit}", err=True)


def _among(words: str, known: tuple[str, ...] | list[str]) -> list[str]:
    chosen = [word.strip() for word in words.split(",")]
    if unknown := set(chosen) - set(known):
        raise click.BadParameter(f"{', '.join(sorted(unknown))}: not one of {', '.join(known)}")
    return chosen


def _opening(servers: Servers) -> str:
    return f"load {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores; " + _facts(servers)


def _closing(servers: Servers, report: Report, quick: bool) -> str:
    answers = sum(cell.answers for cell in report.cells)
    lines = [_facts(servers), f"{answers} answers checked, {len(report.lost())} cells without a figure"]
    if quick:
        lines.append("quick: the sizes are too small for these to be figures")
    elif report.path is not None:
        lines.append(f"recorded in {report.path.relative_to(Path(__file__).parent.parent)}")
    return "\n".join(lines)


def _facts(servers: Servers) -> str:
    return ", ".join(f"{name} {value}" for name, value in servers.facts.items())


if __name__ == "__main__":
    main()
