"""`make chaos MINUTES=m [KEEP=folder] [SEED=s] [SETUP=production|embedded]`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom

from tests.chaos.rig import Rig


def main(given: Sequence[str]) -> int:
    """One chaos run; 1 if anything is not as it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--keep", type=Path, help="where the ledgers, logs and the summary are left")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--setup", choices=("production", "embedded"), default="production")
    parser.add_argument("--rate", type=float, default=4.0, help="runs that the client starts a second")
    parser.add_argument("--gap", type=float, default=2.5, help="seconds between two faults")
    said = parser.parse_args(given)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    seed = said.seed if said.seed is not None else SystemRandom().randrange(1_000_000)
    folder = (said.keep or Path(tempfile.mkdtemp(prefix="wf-chaos-"))).absolute()
    summary = Rig(folder, seed, said.minutes, said.setup, said.rate, said.gap).run()
    violations = summary.pop("violations")
    print(json.dumps(summary, indent=2))
    for violation in violations[:50]:
        print(f"VIOLATION {violation}")
    print(f"{summary['runs']} runs, {summary['steps']} steps, {len(violations)} violations; {folder}")
    return int(bool(violations))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
