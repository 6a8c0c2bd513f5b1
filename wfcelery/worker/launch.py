"""Starting a worker that runs nothing but workflows: `wfcelery worker`, and the child of `dev` and `demo`.

The settings here are for such a process alone, and the app's own come first. A stock `celery worker` of the same
app keeps the app's.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from celery import Celery

from wfcelery.worker.bell import VARIABLE
from wfcelery.worker.publisher import broker_of

PROFILE: dict[str, Any] = {
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_channel_error_retry": True,
    "worker_prefetch_multiplier": 1,  # what waits in one worker is claimed by nobody else
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "worker_soft_shutdown_timeout": 25.0,
}
REDIS: dict[str, Any] = {"socket_timeout": 10, "socket_connect_timeout": 3, "socket_keepalive": True}

Pool = Literal["prefork", "threads", "solo"]
Bell = Literal["broker", "database"]


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start a worker."""

    pool: Pool = "prefork"
    concurrency: int | None = None
    queues: Sequence[str] = ()
    bell: Bell = "broker"
    loglevel: str = "INFO"
    name: str | None = None
    events: bool = False
    more: Sequence[str] = ()  # options of `celery worker`, as they are; they come last and win

    def arguments(self) -> list[str]:
        """The command line of `celery worker` for it."""
        given = ["worker", "--pool", self.pool, "--loglevel", self.loglevel, "--without-gossip", "--without-mingle"]
        if self.bell == "database":
            given.append("--without-heartbeat")  # its only listeners would be on the broker that it does without
        given += ["--hostname", self.name or f"wf-{os.getpid()}@%h"]
        if self.concurrency is not None:
            given += ["--concurrency", str(self.concurrency)]
        if self.queues:
            given += ["--queues", ",".join(self.queues)]
        if self.events and self.bell == "broker":
            given.append("--task-events")
        return [*given, *self.more]


def choose_bell(bell: Bell) -> None:
    """Say which bell the worker of this process and its children have; before the app is imported."""
    if bell == "database":
        os.environ[VARIABLE] = bell
    else:
        os.environ.pop(VARIABLE, None)


def bare_app(modules: Sequence[str]) -> Celery:
    """A Celery app for workflows that belong to none: its modules, no broker and no result backend."""
    return Celery("wfcelery", include=list(modules), broker="memory://", backend=None)


def apply_profile(app: Celery) -> None:
    """The settings of such a worker, where the app says nothing itself."""
    conf = app.conf
    conf.update({name: value for name, value in PROFILE.items() if not conf.value_set_for(name)})
    if str(conf.broker_read_url or conf.broker_url or "").startswith(("redis", "wfredis")):
        conf.broker_transport_options = {**REDIS, **(conf.broker_transport_options or {})}


def start_worker(app: Celery, launch: Launch) -> None:
    """Run a worker in this process until it ends. `choose_bell` comes first, `install(app)` before this."""
    apply_profile(app)
    app.worker_main(launch.arguments())


def broker_fault(app: Celery) -> str | None:
    """Why the app's broker cannot be reached, in a few words; None where it can."""
    try:
        with broker_of(app) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=3)
    except Exception as problem:  # noqa: BLE001 - whatever it is, it is the answer
        return f"{type(problem).__name__}: {problem}"
    return None
