"""Faults of processes: killed, stopped, restarted; too many beats and none."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from random import Random

from tests.chaos.looking import AWAY, Attempt, of_member, under_way
from tests.chaos.nemesis import PATIENCE, Missed, Nemesis, free
from tests.chaos.stack import LEASE, Member
from tests.servers import caretaker

LONG = "stay"  # a step that takes seconds: most others have ended before anybody can kill them in the middle
ORPHANED = 10.0  # seconds in which the children of a killed worker are gone, on a full machine


def child(nemesis: Nemesis, random: Random) -> int:
    """SIGKILL of one child of a prefork pool, while it executes something."""
    with _held(nemesis, random, prefork=True) as member:
        found = _by_children(nemesis, member)
        if not found:
            return 0
        long = {attempt.pid for attempt in found if attempt.step == LONG}
        pid = random.choice(sorted(long or {attempt.pid for attempt in found}))
        _kill(pid)
        nemesis.killed("child" if member.role == "worker" else "worker", [attempt for attempt in found if attempt.pid == pid])
    return len(found)


def main(nemesis: Nemesis, random: Random) -> int:
    """SIGKILL of a worker's main process; the kernel takes its children. It is away for a while."""
    return _gone(nemesis, random, everything=False)


def group(nemesis: Nemesis, random: Random) -> int:
    """SIGKILL of a worker and all that it has started: the machine is gone."""
    return _gone(nemesis, random, everything=True)


def client(nemesis: Nemesis, random: Random) -> int:
    """SIGKILL of the client, in the middle of its calls. It starts again and asks again for what it knows no answer of."""
    process = nemesis.stack.client
    assert process is not None
    with free(nemesis.stack.client_lock):
        deadline = time.monotonic() + PATIENCE
        while not (open_ := calls_without_answer(nemesis.stack.folder / "client.jsonl")) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill_all()
        nemesis.rest(random.uniform(0.0, 2.0))
        process.start()
        process.wait_ready(60)
    return len(open_)


def calls_without_answer(ledger: Path) -> set[int]:
    """The calls that the client has lately made, and that have no answer yet."""
    with ledger.open("rb") as file:
        file.seek(max(0, ledger.stat().st_size - 20_000))
        told = [json.loads(line) for line in file.read().split(b"\n")[1:-1]]
    answered = {line["number"] for line in told if line["phase"] in ("answered", "refused")}
    return {line["number"] for line in told if line["phase"] == "sent"} - answered


def stall(nemesis: Nemesis, random: Random) -> int:
    """SIGSTOP past the lease: a machine that hung and comes back, believing in what it held."""
    with _held(nemesis, random) as member, member.process.stopped():
        found = of_member(nemesis.stack, member)
        nemesis.rest(random.uniform(1.2, 2.5) * LEASE)
    return len(found)


def rolling(nemesis: Nemesis, random: Random) -> int:
    """Every worker is asked to stop and started again, one after another."""
    hit = 0
    for member in nemesis.stack.workers():
        if not member.lock.acquire(timeout=20):
            continue
        try:
            if not member.process.alive:
                continue
            with suppress(*AWAY):
                hit += len(of_member(nemesis.stack, member))
            try:
                member.process.stop(25)
            except AssertionError as late:
                nemesis.note("slow to stop", {"worker": member.process.name, "said": str(late)[-500:]})
                member.process.kill_all()
            member.process.start()
        finally:
            member.lock.release()
        nemesis.rest(0.5)
    return hit


def no_beat(nemesis: Nemesis, random: Random) -> int:
    """No beat for a while."""
    return _beats(nemesis, random, wanted=0)


def three_beats(nemesis: Nemesis, random: Random) -> int:
    """Three beats at once."""
    return _beats(nemesis, random, wanted=3)


def _beats(nemesis: Nemesis, random: Random, wanted: int) -> int:
    beats = [member for member in nemesis.stack.members if member.role == "beat"]
    if not all(beat.lock.acquire(blocking=False) for beat in beats[:1]):
        raise Missed
    try:
        hit = len(nemesis.something_under_way())
        for number, beat in enumerate(beats):
            with beat.lock if number else nullcontext():  # who revives members must not start it too
                beat.wanted = number < wanted
                if beat.wanted and not beat.process.alive:
                    beat.process.start()
                elif not beat.wanted:
                    _end(beat)
        nemesis.rest(random.uniform(4.0, 10.0))
        for number, beat in enumerate(beats):
            with beat.lock if number else nullcontext():
                beat.wanted = number == 0
                if not beat.wanted:
                    _end(beat)
    finally:
        beats[0].lock.release()
    return hit


def _end(beat: Member) -> None:
    if beat.process.alive:
        beat.struck = True
        beat.process.kill_all()


def _gone(nemesis: Nemesis, random: Random, everything: bool) -> int:
    with _held(nemesis, random) as member:
        found = of_member(nemesis.stack, member)
        member.struck = True
        member.process.kill_all() if everything else member.process.kill()
        nemesis.killed("worker", found)
        if not everything:
            _orphans(nemesis, member)
        nemesis.rest(random.choice((0.0, 0.5, 1.5 * LEASE)))
    return len(found)


def _orphans(nemesis: Nemesis, member: Member) -> None:
    """The children of a worker that was killed go with it."""
    deadline = time.monotonic() + ORPHANED
    while left := caretaker.session_members(member.process.pid):
        if time.monotonic() > deadline:
            nemesis.wrong.append(f"{len(left)} processes of {member.process.name} outlived it by {ORPHANED:g} s")
            return
        time.sleep(0.05)


@contextmanager
def _held(nemesis: Nemesis, random: Random, prefork: bool = False) -> Iterator[Member]:
    """A worker in nobody else's hands that executes something, if one turns up in time; nobody restarts it meanwhile."""
    with nemesis.one_that_works(lambda: _free(nemesis, random, prefork)) as member:
        yield member


def _free(nemesis: Nemesis, random: Random, prefork: bool) -> list[tuple[Member, bool]]:
    """The workers that run, in any order, and whether each executes something."""
    running = under_way(nemesis.stack)
    busy, long = {attempt.pid for attempt in running}, {attempt.pid for attempt in running if attempt.step == LONG}
    found = [member for member in nemesis.stack.workers() if member.process.alive and (member.prefork or not prefork)]
    random.shuffle(found)
    if random.random() < 0.5:
        found.sort(key=lambda member: not member.pids() & long)
    return [(member, bool(member.pids() & busy)) for member in found]


def _by_children(nemesis: Nemesis, member: Member) -> list[Attempt]:
    children = set(caretaker.session_members(member.process.pid)) - {member.process.pid}
    return under_way(nemesis.stack, children)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
