"""kombu's Redis transport with three mends. A URL of Redis means what it meant.

A worker of kombu 5.7 that holds an unacknowledged message when Redis restarts dies of an AttributeError:
closing the old connection puts the message back through a channel that has no connection any more. Here that
is the connection error which it is, and Celery reconnects. A worker that takes a message while Redis has no
memory left dies too, since it cannot note that it holds it; here it reconnects until there is some. And kombu
builds a new client object for each command, which is a third of what a publish costs; here a channel keeps one
for as long as its pool.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis as stock
from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import ExecAbortError, OutOfMemoryError


class Channel(stock.Channel):
    """A channel that knows when it is closed, and keeps its client."""

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
