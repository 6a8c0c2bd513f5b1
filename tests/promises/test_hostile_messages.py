"""What somebody who can write to the broker can do: nothing but ask for a look at what is due anyway.

A real worker on PostgreSQL and a Redis-compatible server; what is sent is what any client of Celery could send.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from kombu import Connection

from tests.acceptance.eventually import eventually
from tests.acceptance.monitor import Monitor
from tests.acceptance.processes import Fleet, Process
from tests.promises.conftest import APP

CANARY = "canary-7f3a"
STEP, DISPATCH = "wfcelery.step", "wfcelery.dispatch"
TABLES = ("wf_run", "wf_step", "wf_history", "wf_inbox", "wf_worker", "wf_dead_letter")
HEADERS = {
    *("lang", "task", "id", "root_id", "parent_id", "origin", "argsrepr", "kwargsrepr", "ignore_result"),
    *("timelimit", "shadow", "expires", "retries", "replaced_task_nesting", "wf_queue"),
}  # Celery's own, about its message, and the queue
AT_REST = {"WFCELERY_POLL": "0.2", "WFCELERY_IDLE_POLL": "0.2", "WFCELERY_EXPIRE_EVERY": "0"}


class Attacker:
    """Writes to a queue that a worker serves, and waits until the worker has taken all of it."""

    def __init__(self, fleet: Fleet, worker: Process) -> None:
        self.fleet, self.worker = fleet, worker
        [(self.ns,)] = fleet.query("select ns from wf_meta")
        self._seen = 0

    def sends(self, task: str, body: Any, headers: dict[str, Any] | None = None, **options: Any) -> None:
        """One message, with the headers that Celery wants and perhaps more."""
        common = {"lang": "py", "task": task, "id": str(uuid4()), "root_id": None, "parent_id": None, **(headers or {})}
        with Connection(self.fleet.broker_url) as connection:
            connection.Producer().publish(body, headers=common, routing_key="celery", **{"serializer": "json", **options})

    def asks(self, task: str, headers: dict[str, Any] | None = None, **ids: Any) -> None:
        """One of ours, all of it true but for what is given."""
        true = {"v": 1, "ns": self.ns, "org": "default", "run": None, "step": None}
        self.sends(task, [[], {**true, **ids}, {}], headers)

    def is_read(self) -> str:
        """What the worker has logged since the last time, once it has taken everything and worked off what came last."""
        with redis.Redis.from_url(self.fleet.broker_url) as client:
            eventually(lambda: client.llen("celery") == 0 and client.hlen("unacked") == 0, what="every message was taken")
        assert self.fleet.result(self.fleet.start("double_twice.bind(3)")) == 12, "the worker is alive and well"
        said = self.worker.log.read_text()
        new, self._seen = said[self._seen :], len(said)
        return new


@pytest.fixture(scope="module")
def served(make_shared_fleet: Callable[..., Fleet]) -> Iterator[tuple[Fleet, Process]]:
    fleet = make_shared_fleet(app=APP, environment=AT_REST)
    worker = fleet.worker(pool="prefork", concurrency=1)
    fleet.ready(worker)
    yield fleet, worker
    assert worker.alive


@pytest.fixture
def attacker(served: tuple[Fleet, Process]) -> Attacker:
    made = Attacker(*served)
    made.is_read()
    return made


def waiting(fleet: Fleet, organization: str) -> tuple[str, str]:
    """A run of that organization whose step is ready, on a queue that nobody serves; its id and the step's."""
    run = fleet.start("routed_once.bind('x')", f"organization_id={organization!r}")
    find = "select cast(id as text) from wf_step where run = cast(:run as uuid)"
    [(step,)] = eventually(lambda: fleet.query(find, run=run))
    return run, str(step)


def rows(fleet: Fleet, *runs: str) -> list[tuple[Any, ...]]:
    """Everything of these runs that a ring of the sweep does not write."""
    found = []
    for run in runs:
        for query in (
            "select status, version, open_steps, output, error from wf_run where id = cast(:run as uuid)",
            "select name, status, attempt, token, claimed_at, due_at from wf_step where run = cast(:run as uuid)",
            "select version, facts from wf_history where run = cast(:run as uuid) order by version",
            "select fact from wf_inbox where run = cast(:run as uuid)",
        ):
            found += fleet.query(query, run=run)
    return found


@pytest.mark.promise("A18", "D16")
def test_a_message_that_names_another_organization_is_refused_logged_once_and_never_tried_again(attacker: Attacker) -> None:
    """S3, S5, S18: the ids are true, and of rows that are due; whose they are says the row."""
    fleet = attacker.fleet
    theirs, their_step = waiting(fleet, "acme")
    ours, our_step = waiting(fleet, "default")
    attacker.is_read()
    before = rows(fleet, theirs, ours)
    for run, step, organization in ((theirs, their_step, "default"), (ours, our_step, "acme"), (theirs, our_step, "acme")):
        attacker.asks(STEP, org=organization, run=run, step=step)
    attacker.asks(DISPATCH, org="default", run=theirs)
    attacker.asks(DISPATCH, org="", run=ours)
    said = attacker.is_read()
    assert said.count("names an organization that is not the run's; nothing was touched") == 5
    assert "Traceback" not in said
    assert rows(fleet, theirs, ours) == before
    assert [effect for effect in fleet.effects.all("routed") if effect.key] == []
    assert "names an organization" not in attacker.is_read(), "it does not come again"

    attacker.asks(STEP, org="acme", run=ours, step=their_step)
    attacker.is_read()
    assert fleet.status(theirs) == "succeeded", "a true step is a look at what is due, whatever run the message adds to it"
    assert rows(fleet, ours) == before[len(before) - len(rows(fleet, ours)) :]
    assert fleet.faults() == {}


@pytest.mark.promise("A16")
def test_no_header_or_argument_beside_the_ids_reaches_a_step_a_row_or_a_message(attacker: Attacker) -> None:
    """S2, S5: whoever asks may put tokens wherever Celery carries them; the whitelist is that nothing of it is read."""
    fleet = attacker.fleet
    theirs, step = waiting(fleet, "acme")
    attacker.is_read()
    monitor = Monitor(fleet.broker_url)
    headers = {
        "authorization": f"Bearer {CANARY}",
        "user": {"jwt": CANARY},
        "stamps": {"token": CANARY},
        "stamped_headers": ["token"],
        "group": CANARY,
        "shadow": CANARY,
        "replaced_task_nesting": 3,
        "baggage": CANARY,
        "retries": 7,
    }
    attacker.asks(STEP, headers, org="acme", run=theirs, step=step, token=CANARY, args=[CANARY], input={"word": CANARY}, action="os.system")
    said = attacker.is_read()
    assert fleet.result(theirs) == "x", "it is the step's own input"
    stored = [fleet.query(f"select * from {table}") for table in TABLES]
    assert CANARY not in repr(stored)
    assert CANARY not in said
    messages = monitor.messages(sweeps=True)
    monitor.close()
    ours = [message for message in messages if CANARY not in message.raw]
    assert len(messages) - len(ours) == 1, "the one that was sent by hand"
    assert {tuple(sorted(message.body)) for message in ours} == {("ns", "org", "run", "step", "v")}
    assert {name for message in ours for name in json.loads(message.raw)["headers"]} <= HEADERS


class Touch:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_what_is_no_json_and_no_task_of_the_app_is_dropped_unopened(attacker: Attacker, tmp_path: Path) -> None:
    """S1, S4: pickle and YAML, Celery's own tasks that run others, tasks that nobody knows."""
    proof = tmp_path / "touched"
    opened = {"content_encoding": "binary", "serializer": None}
    for task in (STEP, f"{APP}.double"):
        attacker.sends(task, pickle.dumps(([], {"x": Touch(proof)}, {})), content_type="application/x-python-serialize", **opened)
        attacker.sends(task, f"!!python/object/apply:os.system ['touch {proof}']".encode(), content_type="application/x-yaml", **opened)
    doubles = len(attacker.fleet.effects.all("double"))
    attacker.sends("wfcelery.no_such_task", [[], {}, {}])
    attacker.sends("os.system", [[f"touch {proof}"], {}, {}])
    said = attacker.is_read()
    assert not proof.exists()
    assert len(attacker.fleet.effects.all("double")) == doubles + 2, "the run that showed it to be well, and none besides"
    assert said.count("Received invalid task message: Refusing to deserialize") == 4
    assert "wfcelery.no_such_task" in said


def test_ten_megabytes_in_a_message_cost_the_worker_little_and_are_not_quoted(attacker: Attacker) -> None:
    """S5: and the next one costs no more; what it wrote of them is short."""
    huge = "x" * 10_000_000

    def ten_of_them() -> str:
        for _ in range(5):
            attacker.asks(STEP, run=huge, step=huge)
            attacker.asks(DISPATCH, org=huge, run=str(uuid4()))
        return attacker.is_read()

    ten_of_them()  # the allocator keeps what it once got: what is measured is that it needs no more
    before = resident(attacker.worker)
    said = "".join(ten_of_them() for _ in range(3))
    assert huge[:500] not in said
    assert len(said) < 100_000
    eventually(lambda: resident(attacker.worker) - before < 200 * 2**20, what="of 300 MB most is let go of")


def resident(worker: Process) -> int:
    """Bytes that the worker's processes hold."""
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    pages = [int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in (str(worker.pid), *children)]
    return sum(pages) * 4096
