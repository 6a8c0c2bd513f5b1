"""Whether a run may go on: the app's own `quota_hook` is asked, never inside a transaction.

It is called as `hook(organization_id=..., workflow=...)` before a run begins, and before one that is paused for quota goes on.
True or None: it may. False: not yet. A span, such as 300 or "5m": not before that. A hook that raises lets nothing through:
it is asked again.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from importlib import import_module
from typing import Any

from wfcelery.definition.spans import seconds
from wfcelery.engine.runtime import Runtime
from wfcelery.errors import Misconfigured

log = logging.getLogger(__name__)

AGAIN = 60.0  # seconds after which a hook that only says no is asked again


def not_yet(runtime: Runtime, organization_id: str, workflow: str) -> float | None:
    """Seconds after which it is worth asking again; None: the run may go on."""
    if runtime.settings.quota_hook is None:
        return None
    hook = find_hook(runtime.settings.quota_hook)
    try:
        said = hook(organization_id=organization_id, workflow=workflow)
        return None if said is None or said is True else AGAIN if said is False else seconds(said)
    except Exception:
        log.exception("quota: the hook raised for organization %s and workflow %s; it is asked again", organization_id, workflow)
        return AGAIN


@lru_cache(maxsize=8)
def find_hook(path: str) -> Any:
    """The function of a dotted path. Raises Misconfigured."""
    module, _, name = path.replace(":", ".").rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as problem:
        raise Misconfigured(f"quota_hook {path}: {problem}") from problem
    if not callable(found):
        raise Misconfigured(f"quota_hook {path} is no function")
    return found
