"""What travels over Redis, as Redis itself sees it."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass
from typing import Any

import redis

from tests.acceptance.eventually import eventually
from tests.servers.lists import pushed


@dataclass(frozen=True, slots=True)
class Message:
    """One message that was put into a queue."""

    queue: str
    task: str
    body: dict[str, Any]
    raw: str


class Monitor:
    """Every command of one Redis database, since it began."""

    def __init__(self, url: str) -> None:
        self.commands: list[str] = []
        self._client = redis.Redis.from_url(url, socket_timeout=None)  # nothing may travel for long
        self._database = int(url.rpartition("/")[2])
        self._monitor = self._client.monitor()
        self._monitor.__enter__()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        self._echo()

    def messages(self, *, sweeps: bool = False) -> list[Message]:
        """All messages put into a queue so far, in order; those that ask for a sweep only if wanted."""
        self._echo()
        commands = [pushed(command) for command in list(self.commands) if command.startswith("LPUSH ")]
        found = [_message(queue, raw) for queue, texts in commands for raw in texts]
        return [message for message in found if sweeps or message.task != "wfcelery.sweep"]

    def hops(self) -> list[tuple[str, str]]:
        """(queue, task) of each message."""
        return [(message.queue, message.task) for message in self.messages()]

    def close(self) -> None:
        self._ended.set()
        self._echo()
        self._thread.join(10)
        self._monitor.__exit__(None, None, None)
        self._client.close()

    def _echo(self) -> None:
        """Wait until everything up to now has been seen."""
        word = f"seen-{len(self.commands)}-{id(self)}"
        self._client.echo(word)
        eventually(lambda: any(word in command for command in list(self.commands)) or not self._thread.is_alive())

    def _listen(self) -> None:
        for command in self._monitor.listen():
            if command["db"] == self._database:
                self.commands.append(command["command"])
            if self._ended.is_set():
                return


def _message(queue: str, raw: str) -> Message:
    envelope = json.loads(raw)
    body = envelope["body"]
    if envelope["properties"].get("body_encoding") == "base64":
        body = base64.b64decode(body).decode()
    _, kwargs, _ = json.loads(body)
    return Message(queue, envelope["headers"]["task"], kwargs, raw)
