"""Who takes part. A side is a module that offers the contract, an environment to run it in, and the processes it needs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

Command = tuple[str, ...]
"""Words after the side's own Python; `{module}` stands for the side's module."""

_UPGRADE = "import sys; sys.argv[1:] = ['db', 'upgrade']; from wfcelery.cli import main; main()"
_GROWS = "a chain's message holds the rest of the chain: the cost of a step grows with its length"


@dataclass(frozen=True, slots=True)
class Setup:
    """One side: what it is called, which processes it has, and what it cannot do."""

    name: str
    label: str
    module: str
    workers: tuple[Command, ...]
    python: str = sys.executable
    servers: tuple[Command, ...] = ()
    """Processes that are up before anything is prepared."""
    prepare: tuple[Command, ...] = ()
    has_database: bool = True
    lacks: Mapping[str, str] = field(default_factory=dict)
    """Workloads without a figure here, and why."""


def _celery(pool: str) -> Command:
    return ("-m", "celery", "-A", "{module}", "worker", "--pool", pool, "--concurrency", "2", "--loglevel", "warning")


def _ours(name: str, label: str, pool: str) -> Setup:
    return Setup(name, label, "benchmarks.sides.ours", (_celery(pool),), prepare=(("-c", _UPGRADE),))


RAW, OURS, THREADS, FLOOR = "raw", "wfcelery", "threads", "floor"

SIDES = (
    Setup(
        RAW,
        "raw Celery",
        "benchmarks.sides.raw",
        (_celery("prefork"),),
        has_database=False,
        lacks={"W6_100": _GROWS, "W6_1000": _GROWS, "W6_10000": _GROWS},
    ),
    _ours(OURS, "wfcelery", "prefork"),
    _ours(THREADS, "wfcelery, threads", "threads"),
    Setup(
        FLOOR,
        "floor",
        "benchmarks.sides.floor",
        (_celery("prefork"),),
        prepare=(("-m", "benchmarks.sides.floor.schema"),),
        lacks={"W5": "it has no timers"},
    ),
)

BY_NAME = {side.name: side for side in SIDES}
