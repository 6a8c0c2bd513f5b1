"""What a ring looks like on its way: a message of Celery's protocol 2, of which all but the ids is written once.

The messages are built here, not by a task's publishing, so that no signal, hook or tracer of it sees them: they
are not tasks of the app. A worker, Flower and `celery inspect` read them as any other task's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from celery.utils.nodenames import anon_nodename
from kombu.utils.json import JSONEncoder

from wfcelery.core.decision import Ring, RingStep
from wfcelery.engine.ports import Policy
from wfcelery.worker.routing import AppRouter

STEP, DISPATCH, SWEEP, EXPIRE = "wfcelery.step", "wfcelery.dispatch", "wfcelery.sweep", "wfcelery.expire"
VERSION = 1
MOST_KINDS = 1000  # kinds of messages whose constant part is remembered; their names come from definitions

Limits = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class Note:
    """One message: which of our tasks, for which queue, saying what."""

    task: str
    queue: str
    body: Mapping[str, Any]
    shadow: str | None = None
    priority: int | None = None
    limits: Limits = (None, None)  # hard and soft, of the first step it carries
    expires: float | None = None


@dataclass(slots=True)
class Notes:
    """Writes rings as messages."""

    router: AppRouter
    ns: Callable[[], str]
    policy: Callable[[str], Policy | None]
    dispatch_queue: Callable[[], str | None] = lambda: None

    def __call__(self, rings: Sequence[Ring]) -> Iterator[Note]:
        """The messages for these rings, in their order."""
        ns = self.ns()
        for ring in rings:
            body = {"v": VERSION, "ns": ns, "org": ring.organization_id, "run": str(ring.run), "step": None}
            if isinstance(ring, RingStep):
                body["step"] = str(ring.step)
                policy = self.policy(ring.name) if ring.name else None
                limits = (policy.hard_limit if policy else None, None)
                yield Note(STEP, self.router.queue_for(ring.name, ring.queue), body, ring.name or None, ring.priority, limits)
            else:
                queue = self.dispatch_queue() or self.router.queue_for(DISPATCH, None)
                yield Note(DISPATCH, queue, body)


@dataclass(frozen=True, slots=True)
class Written:
    """A message, ready for `Producer.publish`: its body as JSON text, its headers, everything else."""

    body: str
    headers: dict[str, Any]
    properties: dict[str, Any]


_encode = JSONEncoder().encode  # Celery's own JSON, its encoder made once


@dataclass(slots=True)
class Writer:
    """Writes notes as Celery's messages, for one process, whose name they carry."""

    origin: str = field(default_factory=anon_nodename)
    _fixed: dict[tuple[str, str, str | None, Limits], dict[str, Any]] = field(default_factory=dict)

    def write(self, note: Note) -> Written:
        """One message, with an id of its own."""
        kind = (note.task, note.queue, note.shadow, note.limits)
        fixed = self._fixed.get(kind)
        if fixed is None:
            if len(self._fixed) >= MOST_KINDS:
                self._fixed.clear()
            fixed = self._fixed[kind] = self._headers_of(note)
        task_id = str(uuid4())
        headers = fixed | {"id": task_id, "root_id": task_id}
        properties: dict[str, Any] = {"correlation_id": task_id, "reply_to": ""}
        if note.priority is not None:
            properties["priority"] = note.priority
        if note.expires is not None:
            headers["expires"] = (datetime.now(UTC) + timedelta(seconds=note.expires)).isoformat()
            properties["expiration"] = note.expires
        return Written(f"[[], {_encode(note.body)}, {{}}]", headers, properties)  # the last: of a canvas, which it is not

    def _headers_of(self, note: Note) -> dict[str, Any]:
        """What all messages of a kind have in common. Celery reads what is absent as it reads what is empty, so it is absent."""
        headers = {
            "lang": "py",
            "task": note.task,
            "retries": 0,
            "timelimit": list(note.limits),
            "argsrepr": "()",
            "kwargsrepr": "{}",
            "origin": self.origin,
            "ignore_result": True,
            "replaced_task_nesting": 0,
            "wf_queue": note.queue,
        }
        return headers | ({"shadow": note.shadow} if note.shadow else {})
