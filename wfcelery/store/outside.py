"""Large values in a store that is no database: put before the commit that needs them, fetched between two transactions.

Nobody waits for a network inside a transaction. Where a statement would have to, it raises `Outside` with everything that it
lacks; the transaction is rolled back, what was lacking is put or fetched, and the transaction is tried again. A row of
`wf_payload` without a body stands for each value, and is there before the value is: so what a rolled back commit has left
behind is found and deleted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from uuid import UUID

from wfcelery.errors import RowChanged

T = TypeVar("T")
MOST_HELD = 64 * 1_048_576  # characters that a process keeps of what it has fetched
MOST_KNOWN = 10_000
MOST_TRIES = 1_000


class PayloadStore(Protocol):
    """What the setting `payload_store` names: an object, or a class that is made without arguments."""

    def put(self, key: str, data: bytes) -> None:
        """Keep it; the same key always comes with the same value, and may come again."""

    def get(self, key: str) -> bytes | None:
        """What was put; None where nothing was."""

    def delete(self, key: str) -> None:
        """Keep it no longer; nothing, where it is not there."""


@dataclass(frozen=True, slots=True)
class ToPut:
    """A value that has to be put; `row` is what `wf_payload` says of it."""

    id: UUID
    text: str
    row: dict[str, Any]
    of_start: bool = False  # of a run that is just being inserted: tried again it would be another run's


class Outside(RowChanged):
    """A transaction lacks what is not in the database: it is to be tried again when that has been put or fetched."""

    def __init__(self, puts: Sequence[ToPut] = (), fetches: Sequence[UUID] = ()) -> None:
        super().__init__(f"{len(puts) + len(fetches)} values outside of the database")
        self.puts, self.fetches = tuple(puts), tuple(fetches)

    @property
    def of_start(self) -> bool:
        """Whether nothing is lacking but inputs of runs that are just being inserted."""
        return not self.fetches and all(put.of_start for put in self.puts)


@dataclass(slots=True)
class Elsewhere:
    """The other store as one process knows it: what is there by now, and what has been fetched of it."""

    store: PayloadStore
    _there: OrderedDict[UUID, None] = field(default_factory=OrderedDict)
    _held: OrderedDict[UUID, str | None] = field(default_factory=OrderedDict)
    _size: int = 0

    def has(self, id: UUID) -> bool:  # noqa: A002
        """Whether this process knows that it is there."""
        return id in self._there

    def held(self, id: UUID) -> bool:  # noqa: A002
        """Whether it has been fetched, or found missing."""
        return id in self._held

    def text(self, id: UUID) -> str | None:  # noqa: A002
        """What was fetched; None where there was nothing."""
        self._held.move_to_end(id)
        return self._held[id]

    def delete(self, id: UUID) -> None:  # noqa: A002
        """Delete it there; this process forgets it."""
        self.store.delete(key_of(id))
        self._there.pop(id, None)
        self._size -= len(self._held.pop(id, None) or "")

    def settle(self, lacking: Outside, announce: Callable[[dict[str, Any]], None]) -> None:
        """Put and fetch what a transaction lacks, after it has been rolled back. `announce` commits the row of a value."""
        for put in lacking.puts:
            announce(put.row)
            self.store.put(key_of(put.id), put.text.encode())
            self._there[put.id] = None
            self._hold(put.id, put.text)
            if len(self._there) > MOST_KNOWN:
                self._there.popitem(last=False)
        for id_ in lacking.fetches:
            found = self.store.get(key_of(id_))
            self._hold(id_, None if found is None else found.decode())

    def _hold(self, id_: UUID, text: str | None) -> None:
        if id_ in self._held:
            return
        self._held[id_] = text
        self._size += len(text or "")
        while self._size > MOST_HELD and len(self._held) > 1:
            _, gone = self._held.popitem(last=False)
            self._size -= len(gone or "")


def key_of(id_: UUID) -> str:
    """The key under which a payload is put."""
    return f"wfcelery/{id_}"


def again(what: Callable[[], T]) -> T:
    """Do it until it lacks nothing any more; it must be a transaction of its own, or nothing but reading."""
    for _ in range(MOST_TRIES):
        try:
            return what()
        except Outside:
            continue
    return what()
