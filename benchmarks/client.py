"""`python -m benchmarks.client MODULE`: the caller of one side, in a process of its own.

Takes one order a line ({"workload", "size"}) and answers each with one line ({"figure", "answers"} or {"error"}).
"""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import asdict
from typing import cast

from benchmarks.sides.contract import Side
from benchmarks.workloads import BY_NAME


def serve(side: Side) -> None:
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = asdict(BY_NAME[order["workload"]].measure(side, order["size"]))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve(cast(Side, importlib.import_module(sys.argv[1])))
