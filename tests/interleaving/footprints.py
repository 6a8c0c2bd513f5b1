"""What a statement reads, writes and locks: of two whose footprints do not meet the order does not matter.

PostgreSQL (READ COMMITTED): a plain read sees what was committed before it, so it minds a COMMIT and no write; a write minds the
locks that others hold, until their end. BEGIN takes nothing, not even a snapshot. SQLite: BEGIN IMMEDIATE, and a statement without
one, take the whole database; nothing within a transaction can meet another.

A row is named where the statement finds it by its primary key, or a run where it finds all of that; else it is the whole table. What
cannot be told from the text is taken for more than it may be: that costs executions, and hides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

Place = tuple[str, UUID | None, UUID | None]  # a table, a run and the id of a row; None: whichever
Strength = Literal["key", "row", "whole"]  # KEY SHARE (of a foreign key), NO KEY UPDATE, UPDATE (a delete, a change of a key)
Lock = tuple[Place, Strength]

COMPATIBLE = {("key", "key"), ("key", "row"), ("row", "key")}
SQLITE: Place = ("database", None, None)
NO_UNIQUE_KEY = frozenset({"wf_inbox", "wf_wait"})  # but an id that is new each time
KEYS_OF_A_RUN = frozenset({"wf_step", "wf_history"})  # the run is part of its keys
NO_FOREIGN_KEY = frozenset({"wf_run", "wf_worker", "wf_definition", "wf_schedule", "wf_limit", "wf_limit_use"})
PART = re.compile(r"\b(UPDATE|INSERT INTO|DELETE FROM|FROM|JOIN) (wf_\w+)\b")
LOCKING = re.compile(r"\bFOR (NO KEY UPDATE|UPDATE|SHARE|KEY SHARE)\b")
BORN = re.compile(  # (id, organization_id, run, …) or (run, …)
    r"INSERT INTO (wf_\w+) \((?:id, organization_id, )?run,[^)]*\) (?:VALUES \(|SELECT )"
    r"(?:\$(\d+)::UUID[^,$]*, \$\d+::\w+[^,$]*, )?\$(\d+)::UUID"
)


@dataclass(frozen=True, slots=True)
class Footprint:
    """Of one statement, or of all of a transaction."""

    reads: frozenset[Place] = frozenset()
    writes: frozenset[Place] = frozenset()
    locks: frozenset[Lock] = frozenset()

    def __or__(self, other: Footprint) -> Footprint:
        return Footprint(self.reads | other.reads, self.writes | other.writes, self.locks | other.locks)

    def waits_for(self, other: Footprint) -> bool:
        """Whether one could wait for a lock of the other, or leave out what it has locked."""
        return any(
            _same(place, held) and (strength, mode) not in COMPATIBLE for place, strength in self.locks for held, mode in other.locks
        )


NOTHING = Footprint()


@dataclass(frozen=True, slots=True)
class Step:
    """A statement, and what a transaction lets go and shows with it, if it is its last."""

    own: Footprint
    released: Footprint | None = None

    def minds(self, other: Step) -> bool:
        """Whether their order can matter."""
        return self.own.waits_for(other.own) or self._sees(other) or other._sees(self)

    def _sees(self, other: Step) -> bool:
        past = other.released
        return past is not None and (_meet(past.writes, self.own.reads) or self.own.waits_for(past))


def _same(one: Place, other: Place) -> bool:
    return all(mine is None or its is None or mine == its for mine, its in zip(one, other, strict=True))


def _meet(some: Collection[Place], others: Collection[Place]) -> bool:
    return any(_same(one, other) for one in some for other in others)


def footprint(text: str, parameters: Sequence[Any], dialect: str, alone: bool, runs: Mapping[UUID, UUID]) -> Footprint:
    """Of one statement; `alone`: outside of BEGIN and COMMIT. `runs`: the run of each row that was there before, which never changes."""
    if dialect == "sqlite":
        return _on_sqlite(text, alone)
    if text.startswith(("BEGIN", "COMMIT", "ROLLBACK")):
        return NOTHING
    text = " ".join(text.split())
    given = Parsed(text, parameters, runs)
    found = NOTHING
    for verb, table in PART.findall(text):
        found |= given.part(verb, table)
    rest = set(re.findall(r"\bwf_[a-z_]+", text)) - {table for _, table in PART.findall(text)}
    assert not rest, f"where {rest} comes from is not understood: {text}"
    return found


def _on_sqlite(text: str, alone: bool) -> Footprint:
    everything = frozenset({SQLITE})
    if alone and text.startswith("SELECT"):
        return Footprint(reads=everything)
    if alone or text.startswith("BEGIN"):
        return Footprint(everything, everything, frozenset({(SQLITE, "row")}))
    return NOTHING


@dataclass(frozen=True, slots=True)
class Parsed:
    """A statement of ours, as SQLAlchemy writes it for PostgreSQL."""

    text: str
    parameters: Sequence[Any]
    runs: Mapping[UUID, UUID]

    def part(self, verb: str, table: str) -> Footprint:
        """What it does with one of its tables."""
        if verb == "INSERT INTO":
            return self._insert(table)
        places = self._places(table)
        if verb in ("FROM", "JOIN"):
            locking = LOCKING.search(self.text)
            if locking is None:
                return Footprint(reads=places)
            strength: Strength = "row" if locking[1] == "NO KEY UPDATE" else "whole"
            return Footprint(reads=places, locks=frozenset((place, strength) for place in places))
        strength = "whole" if verb == "DELETE FROM" or "active_key=" in self.text else "row"
        return Footprint(places, places, frozenset((place, strength) for place in places))

    def _insert(self, table: str) -> Footprint:
        born: Place = (table, None, None)
        for name, id_, run in BORN.findall(self.text):
            if name == table:
                born = table, self._ids(run)[0], self._ids(id_)[0] if id_ else None
        locks: set[Lock] = set()
        if table not in NO_UNIQUE_KEY:
            locks.add(((f"keys of {table}", born[1] if table in KEYS_OF_A_RUN else None, None), "row"))
        if table not in NO_FOREIGN_KEY:
            locks.add((("wf_run", None, None), "key"))
        if "DO UPDATE" in self.text:  # or it changes the row that is there
            locks.add(((table, None, None), "whole"))
            return Footprint(frozenset({(table, None, None)}), frozenset({born, (table, None, None)}), frozenset(locks))
        return Footprint(writes=frozenset({born}), locks=frozenset(locks))

    def _places(self, table: str) -> frozenset[Place]:
        """The rows that `id = $n` or `id = any($n)`, or else `run = $n`, names, where nothing else finds more."""
        where = self.text.partition(" WHERE ")[2]
        often = [name for verb, name in PART.findall(self.text) if verb != "INSERT INTO"].count(table)
        by_id, by_run = (re.findall(rf"\b{table}\.{column} = (?:any\()?\$(\d+)", where) for column in ("id", "run"))
        if often == 1 and " OR " not in where and len(by_id) == 1:
            return frozenset((table, self.runs.get(one), one) for one in self._ids(by_id[0]))
        if often == 1 and " OR " not in where and len(by_run) == 1:
            return frozenset((table, one, None) for one in self._ids(by_run[0]))
        return frozenset({(table, None, None)})

    def _ids(self, number: str) -> list[UUID]:
        value = self.parameters[int(number) - 1]
        return [UUID(str(one)) for one in (value if isinstance(value, list | tuple) else [value])]
