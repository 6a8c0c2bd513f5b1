"""kombu's Redis transport with five mends. A URL of Redis means what it meant.

A worker of kombu 5.7 that holds an unacknowledged message when Redis restarts dies of an AttributeError:
closing the old connection puts the message back through a channel that has no connection any more. Here that
is the connection error which it is, and Celery reconnects. A worker that takes a message while Redis has no
memory left dies too, since it cannot note that it holds it; here it reconnects until there is some. And kombu
builds a new client object for each command, which is a third of what a publish costs; here a channel keeps one
for as long as its pool. A batch of messages for one queue is one LPUSH of them all. And of the engine's own
messages Redis is not told who holds them (`acks`).
"""

from __future__ import annotations

from typing import Any

import kombu
from kombu.transport import redis as stock
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import ExecAbortError, OutOfMemoryError

from wfcelery.worker.transports.acks import Acknowledgements

# How a producer's batch asks its transport is nobody's public promise: with another kombu, kombu's own batch is used.
BATCHES_KNOWN = kombu.VERSION[:2] == (5, 7)


class Batch:
    """What `Producer.batch()` gathers: one command for each list, where kombu's pipeline has one for each message."""

    def __init__(self, channel: Channel, max_size: int) -> None:
        self.channel, self._most = channel, max_size
        self._lists: dict[str, list[str]] = {}
        self._others: list[tuple[str, tuple[Any, ...]]] = []
        self._count = 0

    def publish(self, message: Any, **options: Any) -> Any:
        """Gather one message; send what there is when it is enough."""
        result = self.channel.basic_publish(message, _publish_batch=self, **options)
        if self._count >= self._most:
            self.flush()
        return result

    def add(self, command: str, *args: Any) -> None:
        """What the channel would have the server do for a message."""
        self._count += 1
        if command == "lpush":
            self._lists.setdefault(args[0], []).append(args[1])
        else:
            self._others.append((command, args))

    def flush(self) -> None:
        """Send all that has been gathered, once: where that fails nobody knows what has arrived."""
        commands = [("lpush", (key, *messages)) for key, messages in self._lists.items()] + self._others
        self.discard()
        if not commands:
            return
        with self.channel.conn_or_acquire() as client:
            if len(commands) == 1:
                ((name, args),) = commands
                getattr(client, name)(*args)
                return
            with client.pipeline(transaction=False) as pipeline:
                for name, args in commands:
                    getattr(pipeline, name)(*args)
                pipeline.execute()

    def discard(self) -> None:
        """Forget what has not been sent."""
        self._lists, self._others, self._count = {}, [], 0

    def close(self) -> None:
        """Nothing is held between two commands."""


class Channel(stock.Channel):
    """A channel that knows when it is closed, and keeps its client."""

    QoS = Acknowledgements

    def create_publish_batch(self, max_size: int) -> Any:
        return Batch(self, max_size) if BATCHES_KNOWN else super().create_publish_batch(max_size)

    def _create_client(self, asynchronous: bool = False) -> Any:
        if asynchronous:  # BRPOP and SUBSCRIBE own their connection
            return super()._create_client(asynchronous=True)
        pool = self.pool
        kept = self.__dict__.get("_kept_client")
        if kept is None or kept.connection_pool is not pool:
            kept = self.__dict__["_kept_client"] = super()._create_client()
        return kept

    def _get_pool(self, asynchronous: bool = False) -> Any:
        if getattr(self.connection, "client", None) is None:
            raise NotConnected("this channel is closed")
        return super()._get_pool(asynchronous=asynchronous)


class Transport(stock.Transport):
    """kombu's own, with our channel; a server that is full is one that is away."""

    Channel = Channel
    connection_errors = (*stock.Transport.connection_errors, OutOfMemoryError, ExecAbortError)
