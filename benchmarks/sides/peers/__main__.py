"""`python -m benchmarks.sides.peers MODULE VERB`: one process of a peer. Not `-m` of the module itself, whose functions keep its name."""

from __future__ import annotations

import importlib
import sys

if __name__ == "__main__":
    name, verb = sys.argv[1:]
    getattr(importlib.import_module(f"benchmarks.sides.peers.{name}"), verb)()
