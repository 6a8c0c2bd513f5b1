"""`python -m tests.interleaving [NAME ...]`: all orders of every pair (of these transactions), on SQLite and PostgreSQL, as a table.

a and b are the statements of the two transactions alone, BEGIN and COMMIT included; of their C(a + b, a) orders so many were driven as
executions of their own (`orders` says what makes two orders one), in so many one waited for the other's lock, in so many one began
again; and the run's rows came to so many different ends.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.interleaving.judging import HEAD, Judge
from tests.interleaving.scene import scene_on
from tests.interleaving.transactions import PAIRS, Pair
from tests.servers.postgres import Postgres
from wfcelery.store import migrations
from wfcelery.store.database import Database


def table(url: str, pairs: Sequence[Pair]) -> int:
    """The table of one database; how many pairs are wrong."""
    migrations.upgrade(Database(url))
    wrong = orders = driven = 0
    with scene_on(url) as scene:
        print(f"\n{scene.database.dialect}\n{HEAD}", flush=True)
        for pair in pairs:
            found = Judge(scene, pair)()
            good = not found.wrong and found.orders == found.binomial
            wrong, orders, driven = wrong + (not good), orders + found.orders, driven + found.driven
            print(found.line(), *found.wrong[:3], sep="\n    ", flush=True)
    print(f"{len(pairs)} pairs, {orders:,} orders in {driven:,} executions; {wrong} pairs wrong")
    return wrong


def main(names: Sequence[str]) -> int:
    """0: no order of any pair is wrong."""
    pairs = [pair for pair in PAIRS if not names or all(transaction.name in names for transaction in pair)]
    with tempfile.TemporaryDirectory() as folder:
        wrong = table(f"sqlite:///{Path(folder, 'workflows.db')}", pairs)
    server = Postgres().start()
    try:
        wrong += table(server.url(server.create_database()), pairs)
    finally:
        server.close()
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
