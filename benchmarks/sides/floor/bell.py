"""The floor's messages: Celery's protocol 2, with the part that never changes written down once.

A message that does not get out is only a ring that is late, so nothing is tried again.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable
from typing import Any

from celery import Celery

_EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_HEADERS = {
    "lang": "py",
    "parent_id": None,
    "group": None,
    "retries": 0,
    "timelimit": (None, None),
    "eta": None,
    "expires": None,
    "argsrepr": None,
    "kwargsrepr": None,
    "ignore_result": True,
}
_producers: dict[int, Any] = {}


def ring(app: Celery, task: str, calls: Iterable[tuple[str, ...]]) -> None:
    """One message for each of these arguments."""
    producer = _producers.get(os.getpid())
    if producer is None:
        producer = _producers[os.getpid()] = app.amqp.Producer(app.connection_for_write(), auto_declare=False)
    for arguments in calls:
        id_ = str(uuid.uuid4())
        producer.publish(
            (arguments, {}, _EMBED),
            routing_key="celery",
            exchange="",
            serializer="json",
            correlation_id=id_,
            delivery_mode=1,
            retry=False,
            headers=_HEADERS | {"task": task, "id": id_, "root_id": id_},
        )
