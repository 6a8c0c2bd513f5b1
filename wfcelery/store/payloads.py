"""How stored values go into rows and come out: through the codec, and past the row where they are large.

Every statement that writes or reads a column of values (`schema.Value`) comes by here, whoever wrote it. A value larger than
the limit goes into `wf_payload`, under an id made of its run and its digest, and the row holds
`{"$wf": ["payload", id, size, digest]}`; the codec's bytes stand in a text as `{"$wf": ["coded", base64]}`. What cannot be read
here stays as it is, so that nothing is lost when its row is written again: whoever looks into it gets `CannotRead`.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from typing import Any, Protocol
from uuid import UUID, uuid5

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from wfcelery.codecs import Codec, ValueContext
from wfcelery.core.draft import Digest
from wfcelery.definition.values import MARK, dumps, is_kept_back, loads
from wfcelery.errors import CannotRead, InternalError, Misconfigured
from wfcelery.settings import Settings
from wfcelery.store.outside import Elsewhere, Outside, ToPut
from wfcelery.store.schema import payload
from wfcelery.store.statements import Compiled, Parameters, Result, Row, Statement, clock, one

log = logging.getLogger(__name__)

_CODED = f'{{"{MARK}":["coded","'
_BESIDE = f'{{"{MARK}":["payload","'
MARKED = (_CODED, _BESIDE)


class Executing(Protocol):
    """The transaction in which a value is written or read."""

    def execute(self, statement: Statement, parameters: Parameters | None = None) -> Result:
        """Run one statement."""


def _insert(dialect: str) -> Any:
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    values = {
        "id": one("id", sa.Uuid),
        "organization_id": one("organization_id", sa.Text),
        "run": one("run", sa.Uuid),
        "digest": one("digest", sa.Text),
        "size": one("size", sa.Integer),
        "body": one("body", sa.Text),
        "at": clock(),
        "loose_at": sa.case((one("loose", sa.Boolean), clock()), else_=sa.null()),
    }
    return insert(payload).values(**values).on_conflict_do_nothing(index_elements=["id"])


_INSERT = Statement(_insert)
_READ = Statement(
    sa.select(payload.c.body).where(payload.c.id == one("id", sa.Uuid), payload.c.organization_id == one("organization_id", sa.Text))
)


@dataclass(frozen=True, slots=True)
class Payloads:
    """What a process does to values: `limit` in bytes, beyond which one is kept beside its row, and a codec if there is one."""

    limit: int
    codec: Codec | None = None
    elsewhere: Elsewhere | None = None  # where large values go, if not into the table

    # -- in -----------------------------------------------------------------------------------------------------------

    def going_in(self, tx: Executing, compiled: Compiled, given: Parameters) -> Parameters:
        """The parameters as the row shall hold them."""
        if self.codec is None and not any(self._is_large(given.get(name)) for name, _ in compiled.written):
            return given
        kept = dict(given)
        lacking: list[ToPut] = []
        for name, what in compiled.written:
            found = given.get(name)
            if type(found) is str:
                kept[name] = self._kept(tx, found, what, given, lacking)
            elif found is not None:
                kept[name] = [None if text is None else self._kept(tx, text, what, given, lacking) for text in found]
        if lacking:
            raise Outside(lacking)
        return kept

    def all_going_in(self, tx: Executing, compiled: Compiled, given: Sequence[Parameters]) -> list[Parameters]:
        """As `going_in`, for each of these; what all of them lack is told at once."""
        kept: list[Parameters] = []
        lacking: list[ToPut] = []
        for each in given:
            try:
                kept.append(self.going_in(tx, compiled, each))
            except Outside as outside:
                lacking.extend(outside.puts)
        if lacking:
            raise Outside(lacking)
        return kept

    def _is_large(self, found: str | Sequence[str | None] | None) -> bool:
        if found is None:
            return False
        if not isinstance(found, str):
            return any(map(self._is_large, found))
        return len(found) > self.limit or (not found.isascii() and len(found.encode()) > self.limit)

    def _kept(self, tx: Executing, text: str, what: str, given: Parameters, lacking: list[ToPut]) -> str:
        if text.startswith(MARKED):  # it could not be read when its row was
            if not is_kept_back(loads(text)):
                raise CannotRead("what cannot be read here cannot be changed either")
            return text
        organization_id, run = _owner(given), given.get("run")
        coded = self._coded(text, ValueContext(organization_id, None if run is None else str(run), what))
        if run is None or not self._is_large(text):
            return coded
        data = text.encode()
        digest = self.digest(data, organization_id)
        place = uuid5(run, digest)
        row = {"id": place, "organization_id": organization_id, "run": run, "digest": digest, "size": len(data), "body": coded}
        if self.elsewhere is None:
            tx.execute(_INSERT, {**row, "loose": given.get("loose", False)})
        elif not self.elsewhere.has(place):
            lacking.append(ToPut(place, coded, {**row, "body": None, "loose": True}, given.get("loose", False)))
        return dumps({MARK: ["payload", str(place), len(data), digest]})

    def _coded(self, text: str, context: ValueContext) -> str:
        if self.codec is None:
            return text
        return dumps({MARK: ["coded", base64.b64encode(self.codec.encode(text.encode(), context)).decode("ascii")]})

    # -- out ----------------------------------------------------------------------------------------------------------

    def coming_out(self, tx: Executing, compiled: Compiled, rows: list[Row], given: Parameters | None) -> list[Row]:
        """The rows with their values as they were given to us; what cannot be read stays as it is."""
        lacking: list[UUID] = []
        for number, row in enumerate(rows):
            for at, what in compiled.read:
                text = row[at]
                if text is not None and text.startswith(MARKED):
                    owner = row[compiled.owner] if compiled.owner is not None else _owner(given or {})
                    run = (given or {}).get("run")
                    values = list(rows[number])
                    try:
                        values[at] = self.plain(tx, text, ValueContext(owner, None if run is None else str(run), what))
                    except Outside as outside:
                        lacking.extend(outside.fetches)
                    rows[number] = tuple(values)
        if lacking:
            raise Outside(fetches=lacking)
        return rows

    def plain(self, tx: Executing, text: str, context: ValueContext) -> str:
        """What a text of `MARKED` stands for; the text itself where that cannot be read here."""
        if text.startswith(_BESIDE):
            place = UUID(loads(text)[MARK][1])
            found = tx.execute(_READ, {"id": place, "organization_id": context.organization_id}).rows
            if not found:
                log.error("payload %s of organization %s is not there", place, context.organization_id)
                return text
            body: str | None = found[0][0]
            if body is None:
                body = self._fetched(place)
            if body is None:
                return text
            return body if not body.startswith(_CODED) else self._decoded(body, context) or text
        return self._decoded(text, context) or text

    def _fetched(self, place: UUID) -> str | None:
        if self.elsewhere is None:
            log.error("payload %s is in a store that the setting payload_store does not name here", place)
            return None
        if not self.elsewhere.held(place):
            raise Outside(fetches=[place])
        return self.elsewhere.text(place)

    def settle(self, lacking: Outside, transaction: Callable[[], AbstractContextManager[Executing]]) -> None:
        """Put and fetch what a transaction lacks; no transaction is open."""
        assert self.elsewhere is not None

        def announce(row: dict[str, Any]) -> None:
            with transaction() as tx:
                tx.execute(_INSERT, row)

        self.elsewhere.settle(lacking, announce)

    def _decoded(self, text: str, context: ValueContext) -> str | None:
        if self.codec is None:
            return None
        try:
            return self.codec.decode(base64.b64decode(loads(text)[MARK][1]), context).decode()
        except Exception as problem:  # noqa: BLE001 - a codec is the app's own; what it says may quote nothing of the value
            log.warning("a value (%s) of organization %s cannot be decoded: %s", context.what, context.organization_id, problem)
            return None

    # -- digests ------------------------------------------------------------------------------------------------------

    def digest(self, data: bytes, organization_id: str) -> str:
        """What may be said of a value in clear: the same for the same bytes. With a codec, nothing without its key."""
        return sha256(data).hexdigest() if self.codec is None else self.codec.digest(data, organization_id).hex()

    def sealer(self, organization_id: str) -> Callable[[str], str] | None:
        """How the digests of a history are written; None: as they are."""
        if self.codec is None:
            return None
        return lambda plain: self.digest(plain.encode(), organization_id)[:16]


PLAIN = Payloads(65_536)


def _owner(given: Parameters) -> str:
    found = given.get("organization_id") or given.get("organization")
    if found is None:
        raise InternalError("a statement writes or reads a value and does not say whose it is")
    return str(found)


def of(settings: Settings) -> Payloads:
    """What the settings say. Raises Misconfigured where the codec cannot be loaded, or is none."""
    elsewhere = None if settings.payload_store is None else Elsewhere(named(settings.payload_store, "payload_store"))
    if settings.codec is None:
        return Payloads(settings.payload_by_reference, None, elsewhere)
    codec = named(settings.codec, "codec")
    missing = [name for name in ("encode", "decode", "digest") if not callable(getattr(codec, name, None))]
    if missing:
        raise Misconfigured(f"the codec {settings.codec} lacks {', '.join(missing)}")
    return Payloads(settings.payload_by_reference, codec, elsewhere)


def named(path: str, setting: str) -> Any:
    """The object of a dotted path; a class is made without arguments."""
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as problem:
        raise Misconfigured(f"the setting {setting} names {path}, which cannot be loaded: {problem}") from problem
    return found() if isinstance(found, type) else found


def sealed(facts: Sequence[Mapping[str, Any]], seal: Callable[[str], str]) -> list[Any]:
    """Facts of a history with each digest in them sealed."""
    return [_sealed(fact, seal) for fact in facts]


def _sealed(part: Any, seal: Callable[[str], str]) -> Any:
    if isinstance(part, Digest):
        return seal(part)
    if isinstance(part, Mapping):
        return {key: _sealed(value, seal) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return [_sealed(value, seal) for value in part]
    return part
