"""Between processes and their PostgreSQL: counts what each of them sends, by the protocol's own words.

Nothing of wfcelery, SQLAlchemy or the driver is wrapped, so it does not matter how statements are sent. An `Execute`
or a `Query` is a statement; where a client says that the server must answer (`Sync`, `Query`), a round trip ends. (A
`Flush` is left out: how many of them a driver sends in between goes by how fast the answers come.) The way here is a unix
socket, since the kernel tells which process has come.
"""

from __future__ import annotations

import socket
import struct
import tempfile
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy.engine import make_url

from tests.servers import caretaker

PORT = 5432  # of the socket's name alone
_WORDS = 65_536


@dataclass
class Sent:
    """What one process has sent since it was first heard of."""

    statements: Counter[str] = field(default_factory=Counter)
    round_trips: int = 0


class Wire:
    """A way to one database on which everything is counted; `url` in place of the database's own."""

    def __init__(self, url: str) -> None:
        given = make_url(url)
        self._server = (given.host or "127.0.0.1", given.port or 5432)
        self._folder = caretaker.own(Path(tempfile.mkdtemp(prefix="wf-wire-")))
        self.url = given.set(host=None, port=None, query={"host": str(self._folder), "port": str(PORT)}).render_as_string(
            hide_password=False
        )
        self._by_process: dict[int, Sent] = {}
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._folder / f".s.PGSQL.{PORT}"))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def sent_by(self, pid: int) -> Sent:
        """All that this process has sent so far, as it is at this moment."""
        found = self._by_process.get(pid, Sent())
        return Sent(Counter(found.statements), found.round_trips)

    def close(self) -> None:
        """Hang up."""
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        caretaker.remove(self._folder)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            pid, _, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            server = socket.create_connection(self._server)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open += [client, server]
            reader = _Reader(self._by_process.setdefault(pid, Sent()))
            threading.Thread(target=_pass_on, args=(client, server, reader), daemon=True).start()
            threading.Thread(target=_pass_on, args=(server, client, None), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket, reader: _Reader | None) -> None:
    with suppress(OSError):
        while words := source.recv(_WORDS):
            if reader is not None:
                reader.read(words)
            target.sendall(words)
    for each in (source, target):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


class _Reader:
    """Reads what a client says on one connection."""

    def __init__(self, sent: Sent) -> None:
        self._sent = sent
        self._left = bytearray()
        self._greeted = False
        self._texts: dict[bytes, str] = {}
        self._bound = ""

    def read(self, words: bytes) -> None:
        self._left += words
        while True:
            head = 1 if self._greeted else 0  # the first message has no letter
            if len(self._left) < head + 4:
                return
            end = head + int.from_bytes(self._left[head : head + 4])
            if len(self._left) < end:
                return
            if self._greeted:
                self._message(chr(self._left[0]), bytes(self._left[5:end]))
            self._greeted = True
            del self._left[:end]

    def _message(self, letter: str, body: bytes) -> None:
        if letter == "P":
            name, text, _ = body.split(b"\0", 2)
            self._texts[name] = text.decode()
        elif letter == "B":
            _, name, _ = body.split(b"\0", 2)
            self._bound = self._texts[name]
        elif letter == "E":
            self._sent.statements[self._bound] += 1
        elif letter == "Q":
            self._sent.statements[body.rstrip(b"\0").decode()] += 1
        if letter in "QS":
            self._sent.round_trips += 1
