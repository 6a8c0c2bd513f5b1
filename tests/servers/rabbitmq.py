"""A RabbitMQ node of the tests' own, from the machine's binaries, with its own name, ports, files and epmd.

There is no wheel of RabbitMQ. Where the machine has none, its tests are skipped and say so.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import amqp

from tests.servers import caretaker
from tests.servers.ports import free_port, wait_until_it_answers


def find_server() -> Path | None:
    """The script that starts a node as the current user. (Debian's own in the PATH changes to another user.)"""
    places = [*sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"), reverse=True)]
    found = shutil.which("rabbitmq-server")
    if found is not None:
        places.append(Path(found).resolve())
    return next((place for place in places if place.is_file() and (place.parent / "rabbitmq-env").is_file()), None)


class RabbitMQ:
    """One node with the user guest and the host `/`."""

    def __init__(self, server: Path) -> None:
        self.port = free_port()
        self._server = server
        self._folder: Path | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._epmd_port, self._distribution_port = free_port(), free_port()

    @property
    def log(self) -> Path:
        assert self._folder is not None, "start() comes first"
        return self._folder / "log"

    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> RabbitMQ:
        if self._folder is None:
            self._folder = caretaker.own(Path(tempfile.mkdtemp(prefix="wf-rabbit-")))
        environment = self._environment(self._folder)
        if self._epmd is None:
            # In the foreground and on a port of its own: the machine's is not ours to join, and a daemon would stay.
            epmd = shutil.which("epmd")
            assert epmd is not None, "RabbitMQ without Erlang's epmd"
            self._epmd = caretaker.start([epmd, "-port", str(self._epmd_port), "-address", "127.0.0.1"], self.log, environment=environment)
            wait_until_it_answers(self._epmd, lambda: _open(self._epmd_port), self.log, within=10)
        self._process = caretaker.start([str(self._server)], self.log, environment=environment, folder=self._folder)
        wait_until_it_answers(self._process, self._answers, self.log, within=90)
        return self

    def stop(self) -> None:
        """SIGTERM, which the node takes for an orderly stop."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            caretaker.end(self._process)
            self._process = None

    def kill(self) -> None:
        if self._process is not None:
            caretaker.end(self._process)
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def ensure_running(self) -> RabbitMQ:
        return self if self._process is not None and self._process.poll() is None else self.start()

    def close(self) -> None:
        self.kill()
        if self._epmd is not None:
            caretaker.end(self._epmd)
            self._epmd = None
        if self._folder is not None:
            caretaker.remove(self._folder)
            self._folder = None

    def _environment(self, folder: Path) -> dict[str, str]:
        (folder / "plugins").write_text("[].\n")
        (folder / "rabbitmq.conf").write_text("loopback_users.guest = true\ndisk_free_limit.absolute = 50MB\n")
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(folder),  # the cookie lies there
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"wf-{os.getpid()}-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "no-such-file"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RUNNING_UNDER_SYSTEMD": "1",  # the script becomes the node, instead of waiting beside it
        }

    def _answers(self) -> bool:
        try:
            with amqp.Connection(f"127.0.0.1:{self.port}", userid="guest", password="guest", connect_timeout=2) as connection:
                return bool(connection.connected)
        except (OSError, amqp.exceptions.AMQPError):
            return False


def _open(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0
