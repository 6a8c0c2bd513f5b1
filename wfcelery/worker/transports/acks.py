"""Who holds a message, as Redis is told it: our own are bells, and of those it is told nothing.

kombu writes each message it takes into a hash and a sorted set, and deletes it from both when it is acknowledged:
for a task of an app that is what saves it from a worker's death. A bell says only "look at this row", and the
sweep rings again for a row that nobody took; so two round trips and most of a parent's work per message are saved.
A worker that ends in peace still puts back the bells that it took and did not pass on.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis as stock
from kombu.transport import virtual

from wfcelery.worker.messages import DISPATCH, EXPIRE, STEP, SWEEP

BELLS = frozenset((STEP, DISPATCH, SWEEP, EXPIRE))


class Acknowledgements(stock.QoS):
    """kombu's own for the tasks of the app; in this process's memory alone for the engine's."""

    def append(self, message: Any, delivery_tag: str) -> None:
        if _is_bell(message):
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        if _is_bell(self._delivered.get(delivery_tag)):
            virtual.QoS.ack(self, delivery_tag)
        else:
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        message = self._delivered.get(delivery_tag)
        if not _is_bell(message):
            super().reject(delivery_tag, requeue)
            return
        if requeue:
            self._put_back([message], leftmost=True)
        virtual.QoS.ack(self, delivery_tag)

    def restore_unacked(self, client: Any = None) -> None:
        bells = [tag for tag, message in self._delivered.items() if _is_bell(message)]
        self._put_back([self._delivered.pop(tag) for tag in bells])
        super().restore_unacked(client)

    def _put_back(self, messages: list[Any], leftmost: bool = False) -> None:
        if not messages:
            return
        with self.channel.conn_or_acquire() as client:
            for message in messages:
                told = message.delivery_info
                self.channel._do_restore_message(message._raw, told["exchange"], told["routing_key"], client, leftmost)


def _is_bell(message: Any) -> bool:
    """Whether a message is one of the engine's; False for one that is not held any more."""
    return message is not None and (message.headers or {}).get("task") in BELLS
