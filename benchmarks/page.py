"""`python -m benchmarks.page [RESULTS] [--peers RESULTS]`: the page of the docs and its picture, made from a results file.

The other engines take long, so they may have a run of their own, with fewer rounds; their tables then stand beside the first run's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks import picture, tables
from benchmarks.report import Report, Spread, read
from benchmarks.sides.catalogue import BY_NAME, RAW
from benchmarks.sides.peers.catalogue import EVERYONE, PEERS_BY_NAME
from benchmarks.workloads import WORKLOADS, Workload

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "explanation"
DRAWN = {
    "W1": "10 steps in a row",
    "W2": "many such at once",
    "W3_100": "1 → 100 → 1",
    "W3_1000": "1 → 1,000 → 1",
    "W3_10000": "1 → 10,000 → 1",
    "W4": "the call of a start",
}

_PAGE = """# How fast it is

The same work in wfcelery and in raw Celery (`chain`, `chord`, Redis as broker and result backend), cell by cell in turn, in one run on
one machine; PostgreSQL and the Redis-compatible server with what they need to survive a crash. Raw Celery keeps nothing durable;
wfcelery keeps everything. The *floor* is wfcelery's hot path without its engine. What each workload is, how it is measured, and what
the figures do not see: [`benchmarks/README.md`](../../benchmarks/README.md). Absolute times say little about another machine; the
ratios of one run do.

![{title}](benchmarks.svg)

A bar is the median of the rounds, a line across its end the least and the most of them.

## Figures

{about}

{figures}

The median of the rounds, in brackets the least and the most of them. A dash: the side cannot do it.

## Ratios

{ratios}

Each is the first side's figure over the second's of the same round. Only W2 is better where it is more.
{peers}{costs}
This page is made from `benchmarks/results/{name}` by `python -m benchmarks.page`.
"""

_PEERS = """
## Beside other engines

The same work in other engines, each in an environment of its own, in {where}; how each of them is set up:
[`benchmarks/README.md`](../../benchmarks/README.md#other-engines).

{figures}

{ratios}
{absent}"""

_COSTS = """
## What a step costs

Milliseconds of CPU of all processes of a group, over the number of steps; the median of the rounds.

{cpu}

What reached the database and the broker, over the number of steps.

{counts}

## Memory

{memory}

The most of any cell, in MB: PSS of the whole tree of processes. Database and broker serve all sides at once.
"""


@click.command()
@click.argument("results", required=False, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--peers", "others", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The other engines' own run.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), default=FOLDER, help="Where to write.  [docs/explanation]")
def main(results: Path | None, others: Path | None, folder: Path) -> None:
    """Write benchmarks.md and benchmarks.svg from a results file, the newest unless one is named."""
    chosen = results or max((Path(__file__).parent / "results").glob("*.json"))
    told, report = read(chosen)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.svg").write_text(drawn(report))
    (folder / "benchmarks.md").write_text(
        page(chosen.name, told, report, None if others is None else Beside(f"results/{others.parent.name}/{others.name}", *read(others)))
    )
    click.echo(f"benchmarks.md and benchmarks.svg made from {chosen.name}")


@dataclass(frozen=True, slots=True)
class Beside:
    """Another run, of which the page shows the other engines."""

    name: str
    told: dict[str, Any]
    report: Report


def page(name: str, told: dict[str, Any], report: Report, beside: Beside | None = None) -> str:
    """The text around the tables."""
    sides, everyone = _sides(report), _there(report)
    parts = {"cpu": tables.cpu(report, everyone), "counts": tables.counts(report, sides), "memory": tables.memory(report, everyone)}
    return _PAGE.format(
        title=_title(),
        about=_about(told, report),
        figures=tables.figures(report, sides),
        ratios=tables.ratios(report, sides),
        peers=_peers(report, "the same run") if beside is None else _peers(beside.report, _run_of_its_own(beside)),
        costs=_COSTS.format(**parts) if parts["cpu"] else "",
        name=name,
    )


def _peers(report: Report, where: str) -> str:
    sides, gone = _there(report), tables.absent(report)
    if not any(side in PEERS_BY_NAME for side in sides):
        return ""
    figures, ratios = tables.peers(report, sides), tables.peers_ratios(report, sides)
    return _PEERS.format(where=where, figures=figures, ratios=ratios, absent=f"\n{gone}\n" if gone else "")


def _run_of_its_own(beside: Beside) -> str:
    return f"a run of its own (`benchmarks/{beside.name}`: {_about(beside.told, beside.report).rstrip('.')})"


def drawn(report: Report) -> str:
    """The picture: every side but raw Celery, which is the line at 1."""
    sides = [side for side in _sides(report) if side != RAW]
    found = (_group(report, sides, workload) for workload in WORKLOADS if workload.name in DRAWN)
    return picture.draw(_title(), [BY_NAME[side].label for side in sides], [group for group in found if group.bars])


def _group(report: Report, sides: list[str], workload: Workload) -> picture.Group:
    bars = []
    for place, side in enumerate(sides):
        ratio = report.ratio(side, RAW, workload.name)
        if ratio is not None:
            bars.append(_bar(place, ratio, workload.more_is_better))
    return picture.Group(workload.name.partition("_")[0], DRAWN[workload.name], tuple(bars))


def _bar(place: int, ratio: Spread, more_is_better: bool) -> picture.Bar:
    if more_is_better:
        return picture.Bar(place, ratio.median, ratio.least, ratio.most)
    return picture.Bar(place, 1 / ratio.median, 1 / ratio.most, 1 / ratio.least)


def _title() -> str:
    return "How many times as fast as raw Celery"


def _about(told: dict[str, Any], report: Report) -> str:
    machine, servers = told["machine"], told["servers"]
    rounds = max(cell.round for cell in report.cells)
    words = [
        f"{told['at'][:10]}, commit `{told['commit']}`",
        f"{machine['cores']} cores",
        f"Python {machine['python']}, Celery {machine['celery']}",
        f"PostgreSQL {servers['server_version']} with fsync {servers['fsync']} and synchronous_commit {servers['synchronous_commit']}",
        f"append-only file of the Redis-compatible server synced {servers['appendfsync']}",
        "one round" if rounds == 1 else f"{rounds} rounds",
        f"{report.answers():,} answers checked",
    ]
    if (others := report.other_cores()) is not None:
        words.append(f"other work kept {others:.2g} cores busy meanwhile")
    return ", ".join(words) + "."


def _sides(report: Report) -> list[str]:
    """Ours; the picture and the first tables are theirs."""
    return [side for side in _there(report) if side in BY_NAME]


def _there(report: Report) -> list[str]:
    there = {cell.side for cell in report.cells}
    return [side for side in EVERYONE if side in there]


if __name__ == "__main__":
    main()
