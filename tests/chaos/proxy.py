"""A TCP proxy in front of PostgreSQL that sees when a transaction is about to commit, and cuts the connection there.

`python -m tests.chaos.proxy PORT TARGET FOLDER`: a process of its own. The file `cutting` holds the chance (0 to 1) that a
commit is cut; which way is drawn: `before` the server has heard of it, `after` the server has answered, with the answer
swallowed, or `during`: it is forwarded and the client is gone at once, so that nobody knows when it lands. Each cut is a
line of `cuts.jsonl`; `commits` is the number of commits seen. A commit is the statement COMMIT, or a statement that writes
while no transaction is open.

The file `weather` says what the way is like; see `Weather`. `held` says how many messages and connections felt it.
"""

from __future__ import annotations

import asyncio
import json
import os
import struct
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

STARTUP = 3 << 16
WRITES = (b"INSERT", b"UPDATE", b"DELETE", b"WITH", b"COMMIT")
WAYS = ("before", "after", "during")
BIND, EXECUTE, PARSE, QUERY, SYNC = b"B", b"E", b"P", b"Q", b"S"
TOO_MANY = b"C53300\0"  # the server has no connection left


@dataclass
class Cutting:
    """How often, and what became of it."""

    folder: Path
    random: Random
    commits: int = 0
    cuts: Counter[str] = field(default_factory=Counter)
    chance: float = 0.0

    def draw(self) -> str | None:
        """How this commit is cut, if it is."""
        self.commits += 1
        return self.random.choice(WAYS) if self.random.random() < self.chance else None

    def note(self, way: str, statement: bytes) -> None:
        self.cuts[way] += 1
        line = {"at": time.time(), "way": way, "statement": statement[:40].decode(errors="replace")}
        with (self.folder / "cuts.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


@dataclass
class Weather:
    """What the way between the clients and the server is like.

    `clear`; `slow`: each message takes `delay` seconds; `hole`: whatever is sent is held, and nobody is told; `cut`: whoever
    was held has lost his connection; `half_open`: whoever has a transaction open has lost his connection, and the server is
    not told for `delay` seconds.
    """

    way: str = "clear"
    delay: float = 0.0
    links: set[Link] = field(default_factory=set)
    felt: Counter[str] = field(default_factory=Counter)
    _passing: asyncio.Event = field(default_factory=asyncio.Event)

    async def through(self) -> None:
        """Let one message through, when it is time."""
        if self.way == "slow":
            self.felt["slow"] += 1
            await asyncio.sleep(self.delay)
        elif self.way == "hole":
            self.felt["hole"] += 1
            await self._passing.wait()

    def becomes(self, said: str) -> None:
        """The rig has another wish."""
        way, _, delay = said.partition(" ")
        if (way, float(delay or 0)) == (self.way, self.delay):
            return
        before, self.way, self.delay = self.way, way, float(delay or 0)
        if way == "hole":
            self._passing.clear()
        elif way == "half_open":
            for link in [link for link in self.links if not link.idle]:
                self.felt["half_open"] += 1
                link.lingers = self.delay
                link.client.transport.abort()
        else:
            if way == "cut" and before == "hole":
                for link in list(self.links):
                    link.client.transport.abort()
                    link.server.transport.abort()
            self._passing.set()


@dataclass(eq=False)
class Link:
    """One client's connection."""

    cutting: Cutting
    weather: Weather
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    prepared: dict[bytes, bytes] = field(default_factory=dict)
    idle: bool = True  # no transaction is open, as the server said last
    swallowing: bool = False
    lingers: float = 0.0  # seconds for which the server is not told that the client is gone
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    pending: bytes | None = None  # a commit that was announced and will be carried out by the next Sync

    async def up(self, reader: asyncio.StreamReader) -> None:
        """What the client says."""
        head = await reader.readexactly(4)
        rest = await reader.readexactly(struct.unpack("!I", head)[0] - 4)
        await self.weather.through()
        self.server.write(head + rest)
        if struct.unpack("!I", rest[:4])[0] != STARTUP:  # a cancel request, or a wish for encryption
            await _pass_on(reader, self.server)
            return
        held = b""
        async for kind, body in _messages(reader):
            self._learn(kind, body)
            held += kind + struct.pack("!I", len(body) + 4) + body
            if kind in (SYNC, QUERY, b"X", b"H"):
                await self.weather.through()
            if kind in (SYNC, QUERY) and self.pending is not None:
                commit, self.pending = self.pending, None
                way = self.cutting.draw()
                if way is not None:
                    await self._cut(way, commit, held)
                    return
            if kind in (SYNC, QUERY, b"X", b"H"):
                self.server.write(held)
                await self.server.drain()
                held = b""
        self.server.write(held)

    async def down(self, reader: asyncio.StreamReader) -> None:
        """What the server answers."""
        async for kind, body in _messages(reader):
            if kind == b"Z":
                self.idle = body == b"I"
                self.answered.set()
            elif kind == b"E" and TOO_MANY in body:
                self.weather.felt["too_many"] += 1
            if self.weather.way == "hole":
                await self.weather.through()
            if not self.swallowing:
                self.client.write(kind + struct.pack("!I", len(body) + 4) + body)
                if kind == b"Z":
                    await self.client.drain()

    def _learn(self, kind: bytes, body: bytes) -> None:
        statement: bytes | None = None
        if kind == PARSE:
            name, text, _ = body.split(b"\0", 2)
            self.prepared[name] = text.lstrip()
        elif kind == BIND:
            statement = self.prepared.get(body.split(b"\0", 2)[1])
        elif kind == QUERY:
            statement = body.lstrip()
        if statement is None:
            return
        word = statement[:6].upper()
        if word.startswith(b"COMMIT") or (self.idle and word.startswith(WRITES)):
            self.pending = statement

    async def _cut(self, way: str, commit: bytes, held: bytes) -> None:
        if way != "before":
            self.swallowing = True
            self.answered.clear()
            self.server.write(held)
            await self.server.drain()
        if way == "after":
            await asyncio.wait_for(self.answered.wait(), 20)
        self.cutting.note(way, commit)
        self.client.transport.abort()
        if way == "during":
            await asyncio.sleep(0.05)
        self.server.transport.abort()


async def _messages(reader: asyncio.StreamReader) -> AsyncIterator[tuple[bytes, bytes]]:
    while True:
        head = await reader.readexactly(5)
        yield head[:1], await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


@dataclass
class Proxy:
    """All connections, and what the rig wants to happen to them."""

    target: int
    folder: Path
    cutting: Cutting
    weather: Weather = field(default_factory=Weather)

    async def connected(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """One connection, until one side ends it."""
        await self.weather.through()
        try:
            server_reader, server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            client.transport.abort()
            return
        link = Link(self.cutting, self.weather, client, server)
        self.weather.links.add(link)
        tasks = [asyncio.create_task(link.up(client_reader)), asyncio.create_task(link.down(server_reader))]
        _, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in left:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.weather.links.discard(link)
        await asyncio.sleep(link.lingers)
        for end in (client, server):
            end.close()

    async def obey(self) -> None:
        """Look five times a second what the rig wants, and say what there was."""
        while True:
            self.cutting.chance = float(self._read("cutting") or 0)
            self.weather.becomes(self._read("weather") or "clear")
            self._write("commits", {"commits": self.cutting.commits, **self.cutting.cuts})
            self._write("held", self.weather.felt)
            await asyncio.sleep(0.2)

    def _read(self, name: str) -> str:
        place = self.folder / name
        return place.read_text().strip() if place.exists() else ""

    def _write(self, name: str, told: dict[str, int]) -> None:
        made = self.folder / f".{name}"
        made.write_text(json.dumps(told))
        os.replace(made, self.folder / name)


async def serve(port: int, target: int, folder: Path) -> None:
    """Until the process is ended."""
    proxy = Proxy(target, folder, Cutting(folder, Random(port)))
    listener = await asyncio.start_server(proxy.connected, "127.0.0.1", port, limit=1 << 22)
    obeying = asyncio.create_task(proxy.obey())
    print("the proxy is ready", flush=True)
    async with listener:
        await obeying


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
