"""The page of all states, written from the tables of `core.states`: `python -m wfcelery.core.tables > docs/reference/states.md`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TypeVar

from wfcelery.core.states import RUN_TABLE, STEP_TABLE, WAIT_TABLE, RunStatus, StepStatus, WaitStatus

Status = TypeVar("Status", RunStatus, StepStatus, WaitStatus)

_OPENING = """# Every state of a run, a step and a wait

Written by `make docs` from the tables in `wfcelery/core/states.py`, which are the only place that says what may follow
what. A status without a way out is an end. What is not in a table cannot happen: the core refuses it.
"""


def page() -> str:
    """The page, in Markdown."""
    parts = [
        _OPENING,
        _section("Run", "A run exists from `start_workflow` on.", RUN_TABLE),
        _section("Step", "A row is born when its step, or item of a fan-out, first matters: what is not reached has none.", STEP_TABLE),
        _section("Wait", "A wait belongs to a step that is `waiting`, and is ended by exactly one thing.", WAIT_TABLE),
    ]
    return "\n".join(parts)


def _section(title: str, about: str, table: Mapping[Status | None, Mapping[str, frozenset[Status]]]) -> str:
    lines: list[str] = [f"## {title}", "", about, "", "| from | by | to |", "|---|---|---|"]
    for was, ways in table.items():
        origin = "(none yet)" if was is None else f"`{was}`"
        lines.extend(f"| {origin} | {word} | {', '.join(f'`{status}`' for status in _in_order(to))} |" for word, to in ways.items())
    ends = [f"`{was}`" for was, ways in table.items() if not ways]
    if ends:
        lines += ["", f"No way leads out of {', '.join(ends)}."]
    return "\n".join([*lines, "", "```mermaid", "stateDiagram-v2", *_arrows(table), "```", ""])


def _in_order(statuses: frozenset[Status]) -> list[Status]:
    kind = type(next(iter(statuses)))
    return [status for status in kind if status in statuses]


def _arrows(table: Mapping[Status | None, Mapping[str, frozenset[Status]]]) -> list[str]:
    arrows: list[str] = []
    for was, ways in table.items():
        after = frozenset[Status]().union(*ways.values())
        if after:
            arrows.extend(f"    {'[*]' if was is None else was} --> {status}" for status in _in_order(after) if status is not was)
        else:
            arrows.append(f"    {was} --> [*]")
    return arrows


if __name__ == "__main__":
    sys.stdout.write(page())
