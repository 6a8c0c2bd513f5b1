"""`python -m tests.counts`: count on servers of its own, and compare; `--record`: write what was counted."""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path

from tests.counts import recording
from tests.counts.measuring import bench
from tests.servers.postgres import Postgres
from tests.servers.valkey import Valkey


def main(record: bool) -> int:
    with ExitStack() as ends:
        postgres, redis = ends.enter_context(closing(Postgres().start())), ends.enter_context(closing(Valkey().start()))
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory()))
        found = ends.enter_context(bench(postgres.url(postgres.create_database()), redis.fresh_url(), folder)).all()
    for name, measured in found.items():
        print(f"{name}: {measured.cost}")
    if record:
        recording.write(found)
        return 0
    recorded = recording.read()
    differences = [line for name, measured in found.items() for line in recording.differences(name, recorded[name], measured)]
    print("\n".join(differences) or "as recorded")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main("--record" in sys.argv[1:]))
