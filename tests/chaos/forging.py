"""Faults from outside: messages that are bad, forged or repeated, and definitions deployed in mid-run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from uuid import uuid4

from kombu import Connection

from tests.chaos.looking import living
from tests.chaos.nemesis import Nemesis
from tests.chaos.plans import ORGANIZATIONS
from tests.chaos.tap import OURS
from wfcelery.service import publishing
from wfcelery.service.context import Context
from wfcelery.settings import Settings
from wfcelery.store.database import Database

STEP, DISPATCH, SWEEP = "wfcelery.step", "wfcelery.dispatch", "wfcelery.sweep"
MANY = 20

EVOLVING = """
name: evolving
version: "{revision}"
tasks:
  - {{name: a, action: chaos_app.stamp, input: {{before: "", revision: {revision}}}}}
  - {{name: rest, type: sleep, duration: 1s, after: [a]}}
  - {{name: b, action: chaos_app.stamp, after: [rest], needs: [a], input: {{before: "{{{{ task.a.result }}}}", revision: {revision}}}}}
  - {{name: c, action: chaos_app.stamp, needs: [b], input: {{before: "{{{{ task.b.result }}}}", revision: {revision}}}}}
output: "{{{{ task.c.result }}}}"
"""


def deploy(nemesis: Nemesis, random: Random) -> int:
    """The next revision of a workflow whose runs live; those that live go on by theirs."""
    lives = "select count(*) from wf_run where workflow = 'evolving' and status in ('pending', 'running')"
    hit = int(nemesis.stack.query(lives)[0][0])
    revision = 2 + nemesis.faults["deploy"]
    publish(nemesis.stack.folder, nemesis.stack.direct_url, revision)
    return hit


def publish(folder: Path, url: str, revision: int) -> None:
    """Publish a revision, as `wfcelery definitions publish` does."""
    file = folder / f"evolving-{revision}.yaml"
    file.write_text(EVOLVING.format(revision=revision))
    database = Database(url)
    try:
        publishing.publish(Context(database, Settings(database_url=url)), [file])
    finally:
        database.close()


def bad(nemesis: Nemesis, random: Random) -> int:
    """Messages that nobody can work off: no ids, wrong types, unknown tasks, no JSON."""
    ns = _ns(nemesis)
    bodies: list[tuple[str, Any]] = [
        (STEP, {}),
        (STEP, {"v": 1, "ns": ns, "org": "default", "run": "no id", "step": 7}),
        (STEP, {"v": 1, "ns": ns, "org": None, "run": [], "step": {}}),
        (DISPATCH, {"v": 1, "ns": ns, "org": "default", "run": None, "step": None}),
        (DISPATCH, {"v": "1", "ns": ns}),
        (SWEEP, {"v": 1}),
        ("wfcelery.unknown", {"v": 1}),
        ("no.such.task", {"a": 1}),
    ]
    _send(nemesis, [random.choice(bodies) for _ in range(MANY)], spoil=random.random() < 0.5)
    return living(nemesis.stack)


def oversize(nemesis: Nemesis, random: Random) -> int:
    """Messages of a megabyte or two, some with the ids of a step that lives."""
    rows = _living_steps(nemesis)
    if not rows:
        return 0
    bodies: list[tuple[str, Any]] = []
    for _ in range(4):
        more = {"more": "x" * random.randint(1_000_000, 2_000_000)}
        bodies.append((random.choice((STEP, DISPATCH)), random.choice((_ids(nemesis, random.choice(rows)), {"v": 1})) | more))
    _send(nemesis, bodies)
    return len(rows)


def newer(nemesis: Nemesis, random: Random) -> int:
    """Messages for steps that live, of a release that nobody knows yet."""
    rows = _living_steps(nemesis)
    if not rows:
        return 0
    versions = (2, 3, 999, "2", 1.5, None)
    lies = [{"v": random.choice(versions), "when": "2031-01-01", "shard": random.randint(0, 9)} for _ in range(MANY)]
    _send(nemesis, [(random.choice((STEP, DISPATCH)), _ids(nemesis, random.choice(rows)) | lie) for lie in lies])
    return len(rows)


def forged(nemesis: Nemesis, random: Random) -> int:
    """Messages with ids of living rows that do not belong together: of another organization, another run, another database."""
    rows = _living_steps(nemesis)
    if not rows:
        return 0
    bodies: list[tuple[str, Any]] = []
    for _ in range(MANY):
        row, other = random.choice(rows), random.choice(rows)
        strangers = [organization for organization in (*ORGANIZATIONS, "another") if organization != row.organization]
        lie: dict[str, Any] = random.choice(
            (
                {"org": random.choice(strangers)},
                {"ns": "another"},
                {"run": other.run, "org": random.choice(strangers)},
                {"run": str(uuid4())},
                {"step": str(uuid4())},
            )
        )
        bodies.append((random.choice((STEP, DISPATCH)), _ids(nemesis, row) | lie))
    _send(nemesis, bodies)
    return len(rows)


def repeated(nemesis: Nemesis, random: Random) -> int:
    """Messages that were right once, again and again: of steps that run, that have ended, that nobody has reached."""
    rows = _living_steps(nemesis)
    if not rows:
        return 0
    _send(nemesis, [(random.choice((STEP, STEP, DISPATCH)), _ids(nemesis, random.choice(rows))) for _ in range(MANY)])
    return len(rows)


class Living(NamedTuple):
    """A step of a run that lives."""

    organization: str
    run: str
    step: str


def _living_steps(nemesis: Nemesis) -> list[Living]:
    found = nemesis.stack.query(
        "select r.organization_id, s.run, s.id from wf_step s join wf_run r on r.id = s.run "
        "where r.status = 'running' order by r.created_at desc limit 200"
    )
    return [Living(organization, str(run), str(step)) for organization, run, step in found]


def _ids(nemesis: Nemesis, row: Living) -> dict[str, Any]:
    """The body of a message that is right."""
    return {"v": 1, "ns": _ns(nemesis), "org": row.organization, "run": row.run, "step": row.step}


def _ns(nemesis: Nemesis) -> str:
    return str(nemesis.stack.query("select ns from wf_meta")[0][0])


def _send(nemesis: Nemesis, bodies: Sequence[tuple[str, Mapping[str, Any]]], spoil: bool = False) -> None:
    """To each broker, as Celery writes its messages, marked as ours. What a broker that is away does not take is not sent."""
    stack = nemesis.stack
    urls = [server.url() for server in (stack.valkey, stack.rabbit) if server is not None]
    for url in urls:
        try:
            with Connection(url, connect_timeout=2, transport_options={"socket_timeout": 2, "max_retries": 1}) as connection:
                publish = partial(connection.Producer().publish, routing_key="celery", correlation_id=f"{OURS}{uuid4()}")
                for task, kwargs in bodies:
                    headers = {"task": task, "id": str(uuid4()), "lang": "py", "argsrepr": "", "kwargsrepr": ""}
                    publish([[], dict(kwargs), {}], headers=headers, serializer="json", retry=False)
                if spoil:
                    publish(b"\xff{no json", content_type="application/json", content_encoding="utf-8")
                    publish(json.dumps({"v": 1}), headers={"task": STEP, "id": str(uuid4())}, content_type="application/json")
        except Exception as away:
            nemesis.note("not sent", {"error": f"{type(away).__name__}: {away}"[:200]})
