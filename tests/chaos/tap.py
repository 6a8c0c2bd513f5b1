"""What the Redis-compatible server carried, as it saw it itself: every message that was put into a queue, less the rig's own."""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from tests.servers.lists import pushed

OURS = "from-the-rig-"  # begins the correlation id of messages that faults have sent


@dataclass
class Tap:
    """Listens from `start` to `close`, also across restarts of the server. Messages are lines of `tap.jsonl`."""

    port: int
    folder: Path
    canary: str  # a text that every payload holds, and no message may
    leaks: list[str] = field(default_factory=list)  # commands that held it
    seen: Counter[str] = field(default_factory=Counter)  # messages, by their task
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> Tap:
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def close(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(10)

    def _listen(self) -> None:
        with (self.folder / "tap.jsonl").open("a") as file:
            while not self._ended.is_set():
                try:
                    with redis.Redis(port=self.port, socket_timeout=2) as client, client.monitor() as monitor:
                        while not self._ended.is_set():
                            told = monitor.next_command()
                            self.note(told["command"], file, again=told["client_type"] == "lua")
                except (redis.exceptions.RedisError, OSError, ValueError, AttributeError):
                    self._ended.wait(0.05)

    def note(self, command: str, file: Any, again: bool = False) -> None:
        """Keep what this command put into a queue, unless it was there before."""
        if OURS in command:
            return
        if self.canary in command:
            self.leaks.append(command[:300])
        if again or not command.startswith("LPUSH "):
            return
        for text in pushed(command)[1]:
            task, body = _message(text)
            self.seen[task] += 1
            file.write(json.dumps({"body": body, "bytes": len(text), "task": task}) + "\n")


def _message(text: str) -> tuple[str, Any]:
    """The task and the arguments of one message as Celery wraps it; what has another form is its own body."""
    try:
        envelope = json.loads(text)
        body = envelope["body"]
        if envelope["properties"].get("body_encoding") == "base64":
            body = base64.b64decode(body).decode()
        args, kwargs, _ = json.loads(body)
        return str(envelope["headers"]["task"]), {**kwargs, **({"args": args} if args else {})}
    except (ValueError, KeyError, TypeError, AttributeError):
        return "?", text
