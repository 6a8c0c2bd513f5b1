"""A child process with little memory and little time, for what might take much of both.

`python -m tests.bad_input.small_room KIND` reads one JSON list of texts, tries each, and prints a JSON line for each: what came of it.
The limits are many times what any of them needs, so that a slow machine passes too.
"""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from wfcelery.authoring.yaml import load_yaml
from wfcelery.definition.compile import compile_plan
from wfcelery.definition.expressions import Expression, Template
from wfcelery.definition.values import dumps, loads
from wfcelery.errors import WfceleryError

ROOT = Path(__file__).resolve().parents[2]
MEMORY = 1024 * 1024 * 1024  # bytes of address space; a bomb wants a hundred times as much, or hours
SECONDS = 20

SCOPE: dict[str, Any] = {
    "parameters": {"big": "a" * 600_000, "list": list(range(300_000)), "many": [["a", "a"]] * 2_000, "n": 5},
    "vars": {},
    "task": {"a": {"status": "succeeded", "result": [1]}},
}


def tried(kind: str, texts: Sequence[str]) -> list[str]:
    """What came of each of these in a small room: "value", or the name of our error and its text. A test fails where one has none."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bad_input.small_room", kind],
        input=json.dumps(list(texts)),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=100,
        check=False,
    )
    came = [json.loads(line) for line in done.stdout.splitlines()]
    ended = "" if len(came) == len(texts) else f"{texts[len(came)][:200]!r} was the end of it: {done.returncode} {done.stderr[-2000:]}"
    assert not ended, ended
    return came


def _evaluate(text: str) -> None:
    value = Expression.parse(text).evaluate(SCOPE)
    assert loads(dumps(value)) == value


def _render(text: str) -> None:
    value = Template.parse(json.loads(text)).render(SCOPE)
    assert loads(dumps(value)) == value


def _read(text: str) -> None:
    compile_plan(load_yaml(text))


KINDS: dict[str, Callable[[str], None]] = {"expression": _evaluate, "template": _render, "yaml": _read}


def main(kind: str) -> None:
    """Try everything that stdin lists."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for text in json.load(sys.stdin):
        signal.alarm(SECONDS)
        try:
            KINDS[kind](text)
            came = "value"
        except WfceleryError as problem:
            came = f"{type(problem).__name__}: {problem}"
        print(json.dumps(came), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
