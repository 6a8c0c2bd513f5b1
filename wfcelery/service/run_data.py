"""What is kept beside a run, by name: in the transaction that is open, of a transactional step or of the app, else in one of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from wfcelery.definition.spans import seconds
from wfcelery.definition.values import decode, dumps, encode, loads
from wfcelery.errors import Duration, InvalidInput, NotFound
from wfcelery.service.asked import LONGEST_NAME, check_text
from wfcelery.service.context import current
from wfcelery.service.joining import joined_transaction
from wfcelery.store import run_data
from wfcelery.store.database import Tx
from wfcelery.store.loading import organization_of

WHAT = "data"
TRIES = 20


class KeptData:
    """Values beside one run, by name. They come back as JSON keeps them; of two who write at once the last wins."""

    __slots__ = ("_link", "_organization", "_run")

    def __init__(self, run: str, organization: str | None = None, link: Any = None) -> None:
        self._run, self._organization, self._link = UUID(run), organization, link

    def __repr__(self) -> str:
        return f"KeptData({str(self._run)!r})"

    def get(self, key: str, default: Any = None, /) -> Any:
        """What is kept under this name; the default where nothing is, or what was has expired."""
        check_text(WHAT, "key", key, LONGEST_NAME)
        with self._transaction() as tx:
            found = run_data.get(tx, self._run, key)
        return default if found is None else decode(loads(found[0]))

    def put(self, key: str, value: object, /, *, expires: Duration | None = None) -> None:
        """Keep a value, in place of what was there; for this span, or as long as the run is kept. Raises `NotFound`."""
        given = key, self._text(key, value), None if expires is None else seconds(expires)
        with self._transaction() as tx:
            run_data.put(tx, self._owner(tx), self._run, *given)

    def add(self, key: str, value: object, /, *, expires: Duration | None = None) -> bool:
        """Keep a value where there is none; False where there is one. Raises `NotFound`."""
        given = key, self._text(key, value), None if expires is None else seconds(expires)
        with self._transaction() as tx:
            return run_data.add(tx, self._owner(tx), self._run, *given)

    def swap(self, key: str, expected: object, value: object, /, *, expires: Duration | None = None) -> bool:
        """Keep a value in place of the one that is expected; False where another is there, or none."""
        text, wanted = self._text(key, value), encode(expected)
        span = None if expires is None else seconds(expires)
        for _ in range(TRIES):
            with self._transaction() as tx:
                found = run_data.get(tx, self._run, key)
                if found is None or loads(found[0]) != wanted:
                    return False
                if run_data.swap(tx, self._owner(tx), self._run, key, found[1], text, span):
                    return True
        return False

    def delete(self, key: str, /) -> bool:
        """Keep it no longer; False where nothing was."""
        check_text(WHAT, "key", key, LONGEST_NAME)
        with self._transaction() as tx:
            return run_data.delete(tx, self._run, key)

    def keys(self) -> Sequence[str]:
        """The names under which something is kept, in their order."""
        with self._transaction() as tx:
            return run_data.keys(tx, self._run)

    async def aget(self, key: str, default: Any = None, /) -> Any:
        """`get` from a coroutine."""
        return await asyncio.to_thread(self.get, key, default)

    async def aput(self, key: str, value: object, /, *, expires: Duration | None = None) -> None:
        """`put` from a coroutine."""
        await asyncio.to_thread(lambda: self.put(key, value, expires=expires))

    async def aadd(self, key: str, value: object, /, *, expires: Duration | None = None) -> bool:
        """`add` from a coroutine."""
        return await asyncio.to_thread(lambda: self.add(key, value, expires=expires))

    async def aswap(self, key: str, expected: object, value: object, /, *, expires: Duration | None = None) -> bool:
        """`swap` from a coroutine."""
        return await asyncio.to_thread(lambda: self.swap(key, expected, value, expires=expires))

    async def adelete(self, key: str, /) -> bool:
        """`delete` from a coroutine."""
        return await asyncio.to_thread(self.delete, key)

    async def akeys(self) -> Sequence[str]:
        """`keys` from a coroutine."""
        return await asyncio.to_thread(self.keys)

    def _text(self, key: str, value: object) -> str:
        check_text(WHAT, "key", key, LONGEST_NAME)
        text, limit = dumps(encode(value)), current().settings.input_limit
        if len(text) > limit:
            raise InvalidInput(WHAT, [(key, f"it has {len(text)} bytes, more than {limit}")])
        return text

    def _owner(self, tx: Tx) -> str:
        if self._organization is None:
            self._organization = organization_of(tx, self._run)
        if self._organization is None:
            raise NotFound("run", str(self._run))
        return self._organization

    @contextmanager
    def _transaction(self) -> Iterator[Tx]:
        context = current()
        # Django's connection is found by Django's own joiner.
        given = {} if self._link is None or hasattr(self._link, "vendor") else {"connection": self._link}
        joined = joined_transaction(context, given)
        if joined is not None and joined.tx is not None:
            yield joined.tx
            return
        with context.transaction() as tx:
            yield tx
