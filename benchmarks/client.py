"""`python -m benchmarks.client MODULE`: the caller of one side, in a process of its own.

Takes one order a line ({"workload", "size"}) and answers each with one line ({"figure", "answers"} or {"error"}).
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from dataclasses import asdict
from typing import IO, cast

from benchmarks.sides.contract import Side
from benchmarks.workloads import BY_NAME


def serve(side: Side, answers: IO[str]) -> None:
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = asdict(BY_NAME[order["workload"]].measure(side, order["size"]))
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    # What an engine prints goes where its errors go: the answers have the pipe to themselves.
    pipe = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(cast(Side, importlib.import_module(sys.argv[1])), pipe)
