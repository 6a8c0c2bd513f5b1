"""The ring off the caller's thread: who starts work does not wait for the broker, and what was rung is sent all the same."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from textwrap import dedent
from types import SimpleNamespace

import pytest
import redis

from tests.servers.ports import free_port
from tests.servers.valkey import Valkey
from tests.unit.worker.processes import ROOT, eventually
from wfcelery.worker import outbound as module
from wfcelery.worker.messages import STEP, Note
from wfcelery.worker.outbound import Outbound
from wfcelery.worker.publisher import SafePost

SOON = 20.0


@dataclass
class Slow:
    """A broker that answers when it is told to, and remembers who sent what, as one batch each."""

    answers: threading.Event = field(default_factory=threading.Event)
    batches: list[list[str | None]] = field(default_factory=list)
    threads: list[str] = field(default_factory=list)
    fault: Exception | None = None
    asked: int = 0
    hung_up: int = 0

    def load(self) -> None:
        """Nothing to import."""

    def send(self, notes: Sequence[Note]) -> None:
        self.asked += 1
        assert self.answers.wait(SOON)
        if self.fault is not None:
            raise self.fault
        self.batches.append([note.shadow for note in notes])
        self.threads.append(threading.current_thread().name)

    def waiting(self, queue: str) -> int:
        return len(queue)

    def hang_up(self) -> None:
        self.hung_up += 1


def note(name: str) -> Note:
    return Note(STEP, "celery", {"v": 1}, name)


@pytest.fixture
def broker() -> Slow:
    return Slow()


@pytest.fixture
def made(broker: Slow) -> Iterator[Outbound]:
    out = Outbound(SafePost(broker))
    yield out
    broker.answers.set()
    out.close()


def test_who_rings_goes_on_before_the_broker_has_answered(broker: Slow, made: Outbound) -> None:
    made.send([note("a")])
    assert not made.settle(0.05)
    assert made.post.sent == 0
    broker.answers.set()
    assert made.settle(SOON)
    assert (made.post.sent, made.post.unsent) == (1, 0)
    assert broker.threads == ["wfcelery-outbound"]


def test_what_came_while_the_broker_was_busy_goes_out_as_one(broker: Slow, made: Outbound) -> None:
    made.send([note("first")])
    eventually(lambda: broker.asked)
    for name in "abcde":
        made.send([note(name)])
    broker.answers.set()
    assert made.settle(SOON)
    assert broker.batches == [["first"], list("abcde")]


def test_too_many_rings_are_dropped_and_counted_and_said_once(
    broker: Slow, made: Outbound, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    made.send([note("first")])
    eventually(lambda: broker.asked)
    for name in "abcdef":
        made.send([note(name)])
    assert made.post.unsent == 3
    assert caplog.text.count("the sweep will ring for what does not fit") == 1
    broker.answers.set()
    assert made.settle(SOON)
    made.send([note("later")])
    assert made.settle(SOON)
    assert broker.batches == [["first"], list("abc"), ["later"]]


def test_a_broker_that_fails_raises_nothing_and_is_left_in_peace_for_a_moment(broker: Slow, made: Outbound) -> None:
    broker.fault = OSError("gone")
    broker.answers.set()
    for name in "abc":
        made.send([note(name)])
        assert made.settle(SOON)
    assert (made.post.sent, made.post.unsent, broker.asked) == (0, 3, 1)
    assert made.post.failing_since is not None
    broker.fault = None
    eventually(lambda: (made.send([note("d")]), made.settle(SOON), broker.batches)[-1])
    assert made.post.failing_since is None


def in_the_callers_thread(out: Outbound, broker: Slow) -> bool:
    broker.answers.set()
    out.send([note("a")])
    return broker.threads == [threading.current_thread().name]


def test_a_process_that_can_have_no_thread_sends_by_itself(broker: Slow, made: Outbound, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        assert in_the_callers_thread(made, broker)
    made.send([note("b")])
    assert len(broker.threads) == 2, "and does not ask for a thread each time"
    assert made.settle(0)


@pytest.mark.parametrize(
    ("options", "alone"),
    [({}, True), ({"enable-threads": b"false"}, True), ({"enable-threads": True}, False), ({"threads": b"2"}, False)],
)
def test_under_uwsgi_threads_are_used_where_it_lets_them_run(
    broker: Slow, made: Outbound, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], alone: bool
) -> None:
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(opt=options))  # type: ignore[arg-type]
    assert in_the_callers_thread(made, broker) == alone


def test_a_worker_sends_at_once(broker: Slow) -> None:
    assert in_the_callers_thread(Outbound(SafePost(broker), at_once=lambda: True), broker)


def test_closing_sends_what_is_there_and_the_next_ring_begins_anew(broker: Slow, made: Outbound) -> None:
    broker.answers.set()
    for name in ("a", "b"):
        made.send([note(name)])
        made.close()
        assert "wfcelery-outbound" not in {thread.name for thread in threading.enumerate()}
    assert broker.batches == [["a"], ["b"]]
    assert broker.hung_up == 2


# ---- processes that end -----------------------------------------------------------------------------------------------

HEAD = """
import os, sys, threading, time
from pathlib import Path
from celery import Celery
from tests.unit.worker.folder import FolderEngine
from wfcelery.authoring.registry import Registry
from wfcelery.core.decision import RingStep
from wfcelery.worker.installation import Installation
from uuid import UUID

app = Celery("script", broker=os.environ["BROKER"], set_as_current=False)
made = Installation(app, lambda installation: FolderEngine(Path("."), installation), {}, Registry())
made.put()

def ring(name):
    made.bell.ring([RingStep("default", UUID(int=1), UUID(int=2), "celery", name=name)])
"""


def script(body: str, broker: str) -> subprocess.CompletedProcess[str]:
    """Run it as a program of its own, to its end."""
    environment = {**os.environ, "BROKER": broker, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", HEAD + dedent(body)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def rung(redis_url: str) -> Callable[[str], list[str]]:
    """What a script has rung, by the name of its step."""

    def run(body: str) -> list[str]:
        ended = script(body, redis_url)
        assert (ended.returncode, ended.stderr) == (0, "")
        with redis.Redis.from_url(redis_url) as client:
            return sorted(name for raw in client.lrange("celery", 0, -1) for name in "abc" if f'"shadow": "{name}"'.encode() in raw)

    return run


ENDS = {
    "a script": "ring('a')",
    "a script that calls sys.exit": "ring('a'); sys.exit()",
    "a thread of a script": "thread = threading.Thread(target=ring, args=('a',)); thread.start(); thread.join()",
    "what was registered for the end of a script": "import atexit; atexit.register(ring, 'a'); ring('a')",
    "what is registered to be last": """
        from multiprocessing.util import Finalize
        Finalize(None, ring, ('a',), exitpriority=0); ring('a')
    """,
    "a child of multiprocessing": """
        import multiprocessing
        child = multiprocessing.get_context('fork').Process(target=ring, args=('a',)); child.start(); child.join()
    """,
}


@pytest.mark.parametrize("body", ENDS.values(), ids=ENDS)
def test_whoever_rings_and_ends_has_rung(rung: Callable[[str], list[str]], body: str) -> None:
    assert rung(body) == ["a"] * body.count("'a'")


def test_a_child_rings_by_itself_and_never_what_its_parent_has_left(rung: Callable[[str], list[str]]) -> None:
    """The parent forks with a ring in its queue and a thread in the middle of a send."""
    body = """
        ring('a')
        made.outbound.settle(10)
        gate, plain = threading.Event(), type(made.bell.broker).send
        type(made.bell.broker).send = lambda post, notes: (gate.wait(10), plain(post, notes))
        ring('b')
        if child := os.fork():
            os.waitpid(child, 0)
            gate.set()
        else:
            gate.set()
            ring('c')
            sys.exit()
    """
    assert rung(body) == ["a", "b", "c"]


def test_a_script_whose_broker_answers_nobody_ends_all_the_same(redis_server: Valkey, redis_url: str) -> None:
    with redis_server.paused():
        assert script("ring('a')", redis_url).returncode == 0
    assert script("ring('a')", f"redis://127.0.0.1:{free_port()}/0").returncode == 0
