"""The bell that rings again: where a queue is short of rings, and where nobody can tell how many it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from celery import Celery

from wfcelery.core.decision import RingStep
from wfcelery.worker.messages import Note, Notes
from wfcelery.worker.publisher import AppBell, SafePost
from wfcelery.worker.routing import AppRouter


@dataclass
class Counted:
    """A broker whose queue holds so many messages, or does not say."""

    length: int | None
    sent: list[str] = field(default_factory=list)

    def load(self) -> None:
        """Nothing to import."""

    def hang_up(self) -> None:
        """There is no connection."""

    def send(self, notes: Sequence[Note]) -> None:
        self.sent += [str(note.body["step"]) for note in notes]

    def waiting(self, queue: str) -> int:
        if self.length is None:
            raise OSError(f"{queue} does not answer")
        return self.length


@pytest.mark.parametrize(("length", "rung"), [(0, 2), (1, 2), (2, 0), (50, 0), (None, 2)])
def test_it_rings_again_where_a_queue_holds_too_few_messages_or_its_length_is_not_known(length: int | None, rung: int) -> None:
    post = Counted(length)
    bell = AppBell(Notes(AppRouter(Celery("shop"), lambda action: None), lambda: "ns", lambda name: None), SafePost(post))
    rings = [RingStep("default", uuid4(), uuid4(), "celery", None, "shop.pay") for _ in range(2)]
    bell.ring_again(rings)
    assert post.sent == [str(ring.step) for ring in rings][:rung]
