"""What must hold beside the invariants: every claim begun once, in its run's organization, and payloads where they belong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from tests.chaos.lines import lines
from tests.chaos.plans import ORGANIZATIONS, canary_of
from tests.chaos.stack import Stack

TRANSACTIONAL = ("book",)  # steps of the app
MOST = 20  # of one kind that are told
COLUMNS = {"wf_run": ("input", "output", "error"), "wf_step": ("input", "output", "error")}


def begun_by_claim(lines_of_ledger: Iterable[Mapping[str, Any]]) -> Counter[tuple[str, str]]:
    """How often each claim (key, token) has begun. A transactional step's transaction may be repeated, effect and all: that is one."""
    begun = (line for line in lines_of_ledger if line["phase"] == "begun")
    return Counter((line["key"], line["token"]) for line in begun if line.get("step") not in TRANSACTIONAL)


def begun_twice(stack: Stack, crashes: int) -> list[str]:
    """A claim is executed once, whoever swept, rang or came late; without a crash of the database no attempt has two claims."""
    begun = begun_by_claim(lines(stack.folder / "raw-effects.jsonl"))
    tokens: dict[tuple[str, int], set[str]] = {}
    for line in lines(stack.folder / "raw-effects.jsonl"):
        if line["phase"] == "begun":
            tokens.setdefault((line["key"], line["attempt"]), set()).add(line["token"])
    found = [f"step {key}: token {token} has begun {many} times" for (key, token), many in begun.items() if many > 1]
    if not crashes:
        found += [f"step {key}: attempt {number} has {len(of)} claims" for (key, number), of in tokens.items() if len(of) > 1]
    return found[:MOST]


def astray(stack: Stack, seed: int) -> list[str]:
    """Every step was executed in the organization of its run, and no row of one organization holds a payload of another's."""
    of_run = {str(run): organization for run, organization in stack.query("select id, organization_id from wf_run")}
    of_run |= {run.replace("-", ""): organization for run, organization in of_run.items()}
    found = [
        f"step {line['key']} of run {line['run']} was executed for {line['org']}"
        for line in lines(stack.folder / "raw-effects.jsonl")
        if "org" in line and line["org"] != of_run.get(line["run"].replace("-", ""))
    ]
    for table, columns in COLUMNS.items():
        for organization in ORGANIZATIONS:
            holds = " or ".join(f"{column} like :canary" for column in columns)
            statement = f"select count(*) from {table} where organization_id <> :organization and ({holds})"
            [(many,)] = stack.query(statement, organization=organization, canary=f"%{canary_of(seed, organization)}%")
            found += [f"{many} rows of {table} hold a payload of {organization}, and are another's"] if many else []
    return found[:MOST]


def leaked(stack: Stack, seed: int) -> list[str]:
    """No line of a log holds a payload: not even the one in which Celery tells what a task returned."""
    found: list[str] = []
    for place in sorted(stack.folder.glob("*.log")):
        if place.stem in ("client", "proxy"):
            continue
        with place.open(errors="replace") as log:
            quoting = [line.strip() for line in log if canary_of(seed) in line]
        found += [f"{place.name} quotes a payload: {line[:200]}" for line in quoting[:3]]
    return found[:MOST]
