"""What a test session leaves behind: nothing, not even when it is killed.

A caretaker is a process of its own that reads from a pipe which process sessions and which folders belong to
the tests. When the pipe closes, because the tests ended or because somebody killed them, it kills what is left
and removes the folders. (A death signal would not do: it follows the thread that started a process, and
PostgreSQL's and Celery's children would not get it.)
"""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

_caretaker: subprocess.Popen[str] | None = None
_told_by = 0


def start(
    command: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    folder: str | Path | None = None,
    user: str | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command in a process session of its own, its output in a file, and have it ended with the tests."""
    identity: dict[str, object] = {"user": user, "group": _group_of(user), "extra_groups": []} if user else {}
    with log.open("ab") as output:
        process = subprocess.Popen(  # type: ignore[call-overload]
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment) if environment is not None else None,
            cwd=folder,
            start_new_session=True,
            **identity,
        )
    _tell(f"+session {process.pid}")
    return process  # type: ignore[no-any-return]


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and everything in its session that still lives."""
    kill_session(process.pid)
    process.wait(30)
    kill_session(process.pid)
    _tell(f"-session {process.pid}")


def own(folder: Path) -> Path:
    """Have a folder removed when the tests end, however they end."""
    _tell(f"+folder {folder}")
    return folder


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _tell(f"-folder {folder}")


def session_members(session: int) -> list[int]:
    """The processes of a session, zombies left out."""
    return [pid for pid in _pids() if _stat(pid)[:2] == (session, True)]


def kill_session(session: int) -> None:
    for pid in session_members(session):
        _kill(pid)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _stat(pid: int) -> tuple[int, bool]:
    """A process's session, and whether it lives."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0, False
    return int(fields[3]), fields[0] not in (b"Z", b"X")


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _group_of(user: str) -> int:
    return pwd.getpwnam(user).pw_gid


def _tell(line: str) -> None:
    global _caretaker, _told_by  # noqa: PLW0603 - one caretaker a process
    if _caretaker is None or _told_by != os.getpid():
        _caretaker = subprocess.Popen([sys.executable, "-S", __file__], stdin=subprocess.PIPE, text=True, start_new_session=True)
        _told_by = os.getpid()
        atexit.register(_dismiss, _caretaker)
    assert _caretaker.stdin is not None
    _caretaker.stdin.write(line + "\n")
    _caretaker.stdin.flush()


def _dismiss(caretaker: subprocess.Popen[str]) -> None:
    if os.getpid() == _told_by and caretaker.stdin is not None:
        caretaker.stdin.close()
        caretaker.wait(30)


def _watch(orders: IO[str]) -> None:
    wards: dict[str, Callable[[], None]] = {}
    for line in orders:
        sign, what = line[0], line[1:].strip()
        kind, _, name = what.partition(" ")
        if sign == "-":
            wards.pop(what, None)
        elif kind == "session":
            wards[what] = lambda session=int(name): kill_session(session)  # type: ignore[misc]
        else:
            wards[what] = lambda folder=name: shutil.rmtree(folder, ignore_errors=True)  # type: ignore[misc]
    for ward in sorted(wards, reverse=True):  # sessions before folders
        wards[ward]()


if __name__ == "__main__":
    _watch(sys.stdin)
