"""PostgreSQL's row locks. A transaction is the rows it locks, in order; all are released at its end.

A foreign key to the run's table makes every insert of a row of a run (inbox, child run) take KEY SHARE on that run.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

from model.exploring import Found

CLASHES = {  # what may not be held by two at once
    "key share": ("update",),
    "no key update": ("no key update", "update"),
    "update": ("key share", "no key update", "update"),
}


class Lock(NamedTuple):
    """A row, how it is locked, and whether a locked row is skipped instead of waited for."""

    row: str
    mode: str
    skips: bool = False


def transactions(mutant: str | None = None) -> dict[str, list[Lock]]:
    """Rows: R a run, Rc its child run, a, b, c and join steps, i1 and i2 items of the fan-out f, x a row of the app."""

    def own(*rows: str, skips: bool = False) -> list[Lock]:
        mode = "update" if mutant == "run_locked_for_update" else "no key update"
        return [Lock(row, mode if row.startswith("R") else "no key update", skips) for row in rows]

    def refers(run: str) -> list[Lock]:
        return [Lock(run, "key share")]

    both = mutant == "parent_and_child_lock_each_other"
    waits = mutant == "group_claim_waits_for_locked_items"
    first = mutant == "lease_sweep_locks_steps_first"
    return {
        "finish a": own("R", "a", "join"),
        "finish b": own("R", "b", "join"),
        "report b": own("b") + refers("R"),
        "claim a": own("a"),
        "cancel": own("R", "a", "b") + (own("Rc") if both else refers("Rc")),
        "cancel of the child": own("Rc", "c"),
        "end of the child": own("Rc", "c") + (own("R") if both else refers("R")),
        "renew leases": own("b", "a", skips=mutant != "leases_renewed_in_any_order"),
        "lease sweep": own("a", "R") if first else own("R", skips=True) + own("a"),
        "event in an app transaction": refers("R") + own("x"),
        "transactional step a": own("x") + refers("R") + own("a"),
        "claim of a group": own("i2", "i1", skips=not waits),
        "record of a group": own("R", "f", "i1", "i2"),
    }


def _deadlock(names: tuple[str, ...], ts: dict[str, list[Lock]]) -> bool:
    """Does some order of events reach a state where none can go on?"""
    end = tuple(len(ts[name]) for name in names)
    pending, seen = [(0,) * len(names)], set[tuple[int, ...]]()
    while pending:
        at = pending.pop()
        nexts = []
        for n, name in enumerate(names):
            if at[n] == end[n]:
                continue
            lock = ts[name][at[n]]
            held = [other for k, y in enumerate(names) if k != n and at[k] < end[k] for other in ts[y][: at[k]]]
            free = not any(other.row == lock.row and other.mode in CLASHES[lock.mode] for other in held)
            if free or lock.skips:
                of_many = name in ("renew leases", "claim of a group")
                step = at[n] + 1 if free or of_many else end[n]
                nexts.append((*at[:n], step, *at[n + 1 :]))
        if not nexts and at != end:
            return True
        pending += [x for x in nexts if x not in seen]
        seen.update(nexts)
    return False


def explore_locks(mutant: str | None = None) -> Found:
    """All pairs and triples of transactions."""
    ts, tried = transactions(mutant), 0
    for many in (2, 3):
        for names in combinations(ts, many):
            tried += 1
            if _deadlock(names, ts):
                return Found(tried, "deadlock: " + " x ".join(names))
    return Found(tried)
