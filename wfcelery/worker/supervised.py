"""A worker that was started by a supervisor ends with it, even where the supervisor was killed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping

from wfcelery.worker import processes

VARIABLE = "WFCELERY_SUPERVISOR"  # the process, as "pid:birth", without which this worker has no business
LOOK = 0.5  # seconds between two looks


def environment() -> Mapping[str, str]:
    """What a supervisor adds to the environment of its worker."""
    return {VARIABLE: processes.identity()}


def end_with_supervisor(ended: threading.Event) -> None:
    """Where this process has a supervisor: a thread that asks it to shut down when that is gone."""
    supervisor = os.environ.get(VARIABLE)
    if supervisor is None:
        return

    def watch() -> None:
        while not ended.wait(LOOK):
            if not processes.lives(supervisor):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    threading.Thread(target=watch, name="wfcelery-supervised", daemon=True).start()
