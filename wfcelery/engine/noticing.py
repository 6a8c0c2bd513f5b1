"""Tells the app what people are asked, and fills in what its code knows of the forms."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from wfcelery.authoring.registry import registry
from wfcelery.core.decision import ApprovalNotice, Decision
from wfcelery.definition.forms import NAME, SCHEMA
from wfcelery.engine.runtime import Runtime
from wfcelery.errors import Misconfigured
from wfcelery.store.payloads import named

log = logging.getLogger(__name__)


def fill_forms(decision: Decision) -> None:
    """A form with a name gets the schema that this process knows for it, if it knows one: answers are judged by that."""
    for approval in decision.approvals:
        if approval.form is not None and NAME in approval.form:
            schema = registry.find_form(approval.form[NAME])
            approval.form = approval.form if schema is None else {**approval.form, SCHEMA: schema}


def tell(runtime: Runtime, notices: Sequence[ApprovalNotice]) -> None:
    """Call the app's function for each, after the commit. What goes wrong there is logged, and changes nothing."""
    listener = None if runtime.settings.on_approval is None else _listener(runtime.settings.on_approval)
    if listener is None:
        return
    for notice in notices:
        try:
            listener(notice)
        except Exception:
            log.exception("on_approval failed for step %s of run %s (%s)", notice.step, notice.run, notice.what)


@lru_cache(maxsize=8)
def _listener(path: str) -> Callable[[ApprovalNotice], Any] | None:
    try:
        found: Callable[[ApprovalNotice], Any] = named(path, "on_approval")
    except Misconfigured as problem:
        log.error("nobody is told what people are asked: %s", problem)
        return None
    return found
