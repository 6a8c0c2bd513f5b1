"""The recorded numbers: a small file to be read by people, written by one command."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from tests.counts.measuring import NUMBERS, Cost, Measured

FILE = Path(__file__).with_name("recorded.toml")
COMMAND = "python -m tests.counts --record"
HEAD = f"""\
# What one run costs, counted: {COMMAND} writes it anew, and tests/counts compares.
# W1: a chain of 10 steps; W2: the same, one of 20 at once; W3: 1 step, n items, 1 step.
# statements, round_trips: of the worker's child to PostgreSQL; messages: put into queues; rows: left in the tables,
# commits: those of them in wf_history; start_...: of the process that calls start_workflow.
"""


def read() -> dict[str, Cost]:
    """What was recorded, by workload."""
    return {name: Cost(**numbers) for name, numbers in tomllib.loads(FILE.read_text()).items()}


def write(found: Mapping[str, Measured]) -> None:
    """Record these numbers."""
    tables = ("\n".join([f"\n[{name}]", *(f"{number} = {value}" for number, value in asdict(m.cost).items())]) for name, m in found.items())
    FILE.write_text("\n".join([HEAD.rstrip(), *tables]) + "\n")


def differences(workload: str, recorded: Cost, found: Measured) -> list[str]:
    """A sentence for each number that is another one now, and what was sent, where that is of help."""
    sentences = []
    for name in NUMBERS:
        was, now = getattr(recorded, name), getattr(found.cost, name)
        if was != now:
            sentences.append(f"{workload}: {name} {'rose' if now > was else 'fell'} from {was} to {now}")
    if sentences:
        sentences.append(f"Is that what was meant? Then `{COMMAND}`, and commit tests/counts/recorded.toml. The child has sent:")
        sentences += [f"{many:6} x {' '.join(text.split())[:120]}" for text, many in found.texts.most_common()]
    return sentences
