"""Real workers on prefork, threads and solo: messages in, slots, deaths, cancels, shutdown, a Redis that restarts."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.servers.valkey import Valkey
from tests.unit.worker.folder import FolderEngine
from tests.unit.worker.processes import eventually, running
from wfcelery.core.decision import RingRun, RingStep

POOLS = [("-P", "prefork", "-c", "2"), ("-P", "threads", "-c", "4"), ("-P", "solo")]
NAMES = ["prefork", "threads", "solo"]
each_pool = pytest.mark.parametrize("pool", POOLS, ids=NAMES)


def always_on(*here: str) -> pytest.MarkDecorator:
    """On each pool: always on these, on the others, which an acceptance test shows or which have the same code, in the long check."""
    marks = [() if name in here else pytest.mark.long for name in NAMES]
    return pytest.mark.parametrize(
        "pool", [pytest.param(pool, id=name, marks=mark) for pool, name, mark in zip(POOLS, NAMES, marks, strict=True)]
    )


def ring(sender: FolderEngine, *rings: RingStep) -> None:
    assert sender.installation is not None
    sender.installation.bell.ring(rings)


def values(sender: FolderEngine, rings: Sequence[RingStep]) -> list[object]:
    ends = [sender.ended(each.step) for each in rings]
    return [end.get("value") for end in ends if end is not None]


@each_pool
def test_a_worker_runs_steps_and_old_tasks_and_goes_on_to_what_follows(
    sender: FolderEngine, redis_url: str, tmp_path: Path, pool: Sequence[str]
) -> None:
    last = sender.put("shop.add", {"a": 20, "b": 22})
    sender.hide_from_sweeps(last)
    first = sender.put("old.based", {"value": 1}, then=[last.step])
    coroutine = sender.put("shop.anap", {"seconds": 0.01})
    with running(tmp_path, redis_url, *pool) as worker:
        ring(sender, first, coroutine)
        assert eventually(lambda: sender.ended(last.step)) == {"outcome": "Returned", "value": 42}
        assert eventually(lambda: sender.ended(coroutine.step)) == {"outcome": "Returned", "value": "key"}
        assert sender.ended(first.step) == {"outcome": "Returned", "value": ["base", 2]}
        assert sender.installation is not None
        sender.installation.bell.ring([RingRun("default", first.run)])
        eventually(lambda: sender.said("dispatch"))
        assert worker.stop() == 0
    assert "Task shop.add[" in worker.output()
    assert worker.output().partition("Task shop.add[")[2].partition("\n")[0].endswith("s: …")
    assert "wfcelery.step" not in worker.output().partition("ready.")[2]


@always_on("prefork")
def test_a_step_that_polls_ends_within_two_renewals_of_its_cancel(
    sender: FolderEngine, redis_url: str, tmp_path: Path, pool: Sequence[str]
) -> None:
    step = sender.put("shop.poll", {"seconds": 15})
    with running(tmp_path, redis_url, *pool):
        ring(sender, step)
        claim = eventually(lambda: sender.said("claim"))[0]
        sender.cancel(claim["token"])
        asked = time.monotonic()
        end = eventually(lambda: sender.ended(step.step))
        assert time.monotonic() - asked < 2 * 0.5 + 3  # a third of the lease of 1.5 s, twice; the step itself takes 15 s
        assert end["error"]["code"] == "cancelled"


@always_on("prefork", "solo")
def test_what_a_worker_executes_is_renewed_and_nothing_else(
    sender: FolderEngine, redis_url: str, tmp_path: Path, pool: Sequence[str]
) -> None:
    polls = [sender.put("shop.poll", {"seconds": 30}) for _ in range(1 if "solo" in pool else 2)]
    with running(tmp_path, redis_url, *pool):
        ring(sender, *polls)
        claims = eventually(lambda: sender.said("claim") if len(sender.said("claim")) == len(polls) else None)
        tokens = sorted(claim["token"] for claim in claims)
        eventually(lambda: sender.said("renew")[-1]["tokens"] == tokens)
        assert {claim["worker"] for claim in claims} == {sender.said("register")[-1]["worker"]}
        for token in tokens:
            sender.cancel(token)
        eventually(lambda: all(sender.ended(poll.step) for poll in polls))
        eventually(lambda: sender.said("renew")[-1]["tokens"] == [])


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_killed_child_is_told_at_once_and_its_step_runs_again(sender: FolderEngine, redis_url: str, tmp_path: Path, start: str) -> None:
    victim, other = sender.put("shop.poll", {"seconds": 60}), sender.put("shop.poll", {"seconds": 60})

    def claims(ring: RingStep) -> list[dict[str, Any]]:
        return [claim for claim in sender.said("claim") if claim["step"] == str(ring.step)]

    with running(tmp_path, redis_url, "-P", "prefork", "-c", "2", TEST_START=start):
        ring(sender, victim, other)
        eventually(lambda: claims(victim) and claims(other))
        (claim,) = claims(victim)
        os.kill(claim["pid"], signal.SIGKILL)
        killed = time.time()
        died = eventually(lambda: sender.said("died"))[0]
        assert died["child"] == claim["child"]
        assert died["at"] - killed < 2  # Celery itself looks each five seconds
        eventually(lambda: len(claims(victim)) == 2)
        for each in (claims(victim)[-1], *claims(other)):
            sender.cancel(each["token"])
        eventually(lambda: sender.ended(victim.step) and sender.ended(other.step))
        assert len(claims(other)) == 1


def test_a_worker_that_was_declared_lost_goes_on_as_a_new_one(sender: FolderEngine, redis_url: str, tmp_path: Path) -> None:
    step = sender.put("shop.poll", {"seconds": 15})
    with running(tmp_path, redis_url, "-P", "prefork", "-c", "1"):
        ring(sender, step)
        claim = eventually(lambda: sender.said("claim"))[0]
        (tmp_path / f"lost-{claim['worker']}").touch()
        assert eventually(lambda: sender.ended(step.step))["error"]["code"] == "cancelled"
        again = sender.put("shop.add", {"a": 1, "b": 1})
        ring(sender, again)
        eventually(lambda: sender.ended(again.step))
        assert sender.said("claim")[-1]["worker"] == sender.said("register")[-1]["worker"] != claim["worker"]


@pytest.mark.parametrize("pool", POOLS[:2], ids=["prefork", "threads"])
def test_a_warm_shutdown_ends_what_runs_and_claims_no_more(
    sender: FolderEngine, redis_url: str, tmp_path: Path, pool: Sequence[str]
) -> None:
    running_step = sender.put("shop.nap", {"seconds": 1.5})
    with running(tmp_path, redis_url, *pool) as worker:
        ring(sender, running_step)
        eventually(lambda: sender.said("claim"))
        worker.process.send_signal(signal.SIGTERM)
        eventually(lambda: "Warm shutdown" in worker.output())
        follower = sender.put("shop.add", {"a": 1, "b": 1})
        ring(sender, follower)
        assert worker.process.wait(30) == 0
    assert values(sender, [running_step]) == ["slept"]
    assert sender.ended(follower.step) is None


@always_on("solo")
def test_a_worker_survives_a_restart_of_redis_with_work_in_flight(
    sender: FolderEngine, redis_server: Valkey, redis_url: str, tmp_path: Path, pool: Sequence[str]
) -> None:
    steps = [sender.put("shop.nap", {"seconds": 1.5}) for _ in range(3 if "solo" in pool else 6)]
    with running(tmp_path, redis_url, *pool, TEST_PREFETCH="4") as worker:
        ring(sender, *steps)
        eventually(lambda: sender.said("claim"))
        redis_server.restart()
        late = sender.put("shop.add", {"a": 40, "b": 2})
        eventually(lambda: all(sender.ended(each.step) for each in [*steps, late]), 40)
        assert worker.process.poll() is None  # (its stop may take 30 s after this: billiard's children wait for counts that were lost)
    assert "Unrecoverable error" not in worker.output()


@pytest.mark.parametrize("pool", POOLS[1:], ids=["threads", "solo"])
def test_threads_and_solo_feed_themselves_while_the_broker_is_away(
    sender: FolderEngine, redis_server: Valkey, redis_url: str, tmp_path: Path, pool: Sequence[str]
) -> None:
    with running(tmp_path, redis_url, *pool):
        redis_server.stop()
        try:
            last = sender.put("shop.add", {"a": 1, "b": 2})
            first = sender.put("shop.add", {"a": 1, "b": 1}, then=[last.step])
            eventually(lambda: sender.ended(first.step) and sender.ended(last.step), 20)
        finally:
            redis_server.start()


@each_pool
def test_a_worker_whose_bell_is_the_database_needs_no_broker(tmp_path: Path, pool: Sequence[str]) -> None:
    engine = FolderEngine(tmp_path)
    nowhere = "redis://127.0.0.1:1/0"
    with running(tmp_path, nowhere, *pool, "--without-heartbeat", WFCELERY_BELL="database") as worker:
        last = engine.put("shop.add", {"a": 1, "b": 2})
        engine.hide_from_sweeps(last)
        first = engine.put("shop.nap", {"seconds": 0.1}, then=[last.step])
        eventually(lambda: engine.ended(first.step) and engine.ended(last.step))  # rung through the parent
        assert worker.stop() == 0
