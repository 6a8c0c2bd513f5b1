"""When a worker renews its lease."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from wfcelery.errors import Unavailable
from wfcelery.worker.keeper import Keeping

LEASE = 30.0


def test_a_renewal_that_failed_is_tried_again_long_before_the_lease_is_over() -> None:
    away = [True]

    def renew(worker: Any, tokens: Any) -> list[Any]:
        if away[0]:
            raise Unavailable("database")
        return []

    slots = SimpleNamespace(children=dict, own=frozenset, tell_cancelled=lambda tokens: None)
    around: Any = SimpleNamespace(lease=LEASE, slots=slots, engine=lambda: SimpleNamespace(renew=renew))
    watch: Any = SimpleNamespace(living={})
    keeping = Keeping(None, around, watch, id=uuid4())
    keeping.keep()
    assert keeping._pause() <= 1.0, "a lease goes on running while the database is away"
    away[0] = False
    keeping.keep()
    assert keeping._pause() == LEASE / 3
