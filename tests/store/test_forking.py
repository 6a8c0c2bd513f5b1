"""A process forks while its threads work on the database, as a prefork worker does for a child that died: the new child can work too."""

from __future__ import annotations

import os
import threading

import pytest

from tests.store.rows import run_of, started
from wfcelery.store import forking
from wfcelery.store.database import Database


def forked(database: Database) -> bytes:
    """What a child says that starts a run."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, str(run_of(database, started(database)).version).encode())
        finally:
            os._exit(0)
    os.close(writing)
    said = os.read(reading, 10)
    os.close(reading)
    os.waitpid(pid, 0)
    return said


def test_a_child_that_was_forked_while_a_thread_wrote_can_write(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forking, "PATIENCE", 60.0)
    inside, leave = threading.Event(), threading.Event()

    def write() -> None:
        with database.transaction():
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=write)
    thread.start()
    inside.wait(30)
    soon = threading.Timer(0.2, leave.set)
    soon.start()
    assert forked(database) == b"0"
    thread.join()
    soon.join()
    assert run_of(database, started(database)).version == 0


def test_who_forks_inside_a_transaction_of_its_own_does_not_wait_for_itself(database: Database) -> None:
    with database.transaction():
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    assert run_of(database, started(database)).version == 0


def test_a_thread_that_stays_in_its_transaction_holds_a_fork_up_for_a_while_only(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forking, "PATIENCE", 0.1)
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with database.transaction():
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=stay)
    thread.start()
    inside.wait(30)
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    leave.set()
    thread.join()
    assert run_of(database, started(database)).version == 0
