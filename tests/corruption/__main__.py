"""`make corrupt`: break a clean run once for each invariant, on both databases, and print which invariant finds it."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.corruption.clean import clean
from tests.corruption.corruptors import CORRUPTORS
from tests.corruption.judging import found_by
from tests.servers.postgres import Postgres
from wfcelery.service.invariants import INVARIANTS
from wfcelery.store import migrations
from wfcelery.store.database import Database

NAMES = {invariant.number: invariant.name for invariant in INVARIANTS}


def judged(database: Database) -> list[tuple[list[int], bool]]:
    """For each corruptor: the numbers that were named, and whether these are the right ones."""
    migrations.upgrade(database)
    runs = clean(database)
    rows = []
    for corruptor in CORRUPTORS:
        found = {problem.number for problem in found_by(runs, corruptor)}
        rows.append((sorted(found), found == {corruptor.number} | corruptor.also))
    database.close()
    return rows


@contextmanager
def databases() -> Iterator[dict[str, Database]]:
    """An empty one of each kind."""
    server = Postgres().start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield {
                "sqlite": Database(f"sqlite:///{Path(folder) / 'workflows.db'}"),
                "postgresql": Database(server.url(server.create_database())),
            }
    finally:
        server.close()


def main() -> int:
    """0: every corruption is found by exactly its invariant, on both databases."""
    with databases() as both:
        found = {kind: judged(database) for kind, database in both.items()}
    print(f"{'invariant':26}{'corruption':64}{''.join(f'{kind:14}' for kind in found)}")
    wrong = 0
    for at, corruptor in enumerate(CORRUPTORS):
        cells = ""
        for rows in found.values():
            numbers, right = rows[at]
            wrong += not right
            cells += f"{('' if right else 'WRONG ') + (', '.join(map(str, numbers)) or 'nothing'):14}"
        print(f"{f'{corruptor.number} {NAMES[corruptor.number]}':26}{corruptor.what:64}{cells}")
    named = {corruptor.number for corruptor in CORRUPTORS}
    print(
        f"{len(CORRUPTORS)} corruptions of {len(named)} invariants on {len(found)} databases, {wrong} not found by exactly their invariant"
    )
    return int(wrong > 0 or named != NAMES.keys())


if __name__ == "__main__":
    sys.exit(main())
