"""Durable workflows for the Celery you already run.

These names are the public ones. Each is loaded when it is first used: importing wfcelery loads neither
Celery nor SQLAlchemy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wfcelery.authoring.approvals import Approved, approval, form
    from wfcelery.authoring.calls import batched
    from wfcelery.authoring.context import StepContext, current_step
    from wfcelery.authoring.decorators import Bound, Step, Submitted, Workflow, adopt, step, workflow
    from wfcelery.authoring.events import wait_event
    from wfcelery.authoring.gates import Breaker, Concurrency, Limit, Rate
    from wfcelery.authoring.language import (
        after,
        cancelled,
        completed,
        continue_as_new,
        either,
        end,
        error,
        expr,
        fail,
        failed,
        is_none,
        not_,
        otherwise,
        publish,
        required,
        sleep,
        sleep_until,
        succeeded,
        text,
        timed_out,
        when,
    )
    from wfcelery.authoring.loops import loop
    from wfcelery.authoring.options import Retry
    from wfcelery.authoring.racing import Race, race
    from wfcelery.authoring.regions import region
    from wfcelery.authoring.secrets import Secret, secret
    from wfcelery.authoring.sections import lock
    from wfcelery.authoring.tracing import End
    from wfcelery.authoring.triggers import OnEvent, on_event
    from wfcelery.authoring.undoing import Compensate
    from wfcelery.core.decision import ApprovalNotice
    from wfcelery.errors import (
        AttemptCancelled,
        AuthoringError,
        CannotRead,
        DefinitionProblems,
        Failed,
        GiveUp,
        InProgress,
        InvalidInput,
        InvalidSchedule,
        KeyConflict,
        NotAllowedNow,
        NotFound,
        QuotaExceeded,
        RetryLater,
        RunCancelled,
        RunFailed,
        RunTimedOut,
        StepError,
        StillRunning,
        WfceleryError,
    )
    from wfcelery.integrations.installing import install
    from wfcelery.service.approvals import aapprove, aassign, approve, areject, assign, reject
    from wfcelery.service.bulk import Bulk, abulk, bulk
    from wfcelery.service.definition_handles import (
        DefinitionVersion,
        aarchive_definition,
        apublish_definition,
        archive_definition,
        aunarchive_definition,
        publish_definition,
        unarchive_definition,
    )
    from wfcelery.service.events import asend_event, send_event
    from wfcelery.service.fan_outs import add_items, complete_items, rerun_failed
    from wfcelery.service.handles import Run, get_run
    from wfcelery.service.holds import ahold, arelease, hold, release
    from wfcelery.service.once import once
    from wfcelery.service.schedule_handles import (
        Schedule,
        aget_schedule,
        alist_schedules,
        aschedule,
        get_schedule,
        list_schedules,
        schedule,
    )
    from wfcelery.service.starting import astart_workflow, start_workflow
    from wfcelery.service.why import Cause

__all__ = [
    "ApprovalNotice",
    "Approved",
    "AttemptCancelled",
    "AuthoringError",
    "Bound",
    "Breaker",
    "Bulk",
    "CannotRead",
    "Cause",
    "Compensate",
    "Concurrency",
    "DefinitionProblems",
    "DefinitionVersion",
    "End",
    "Failed",
    "GiveUp",
    "InProgress",
    "InvalidInput",
    "InvalidSchedule",
    "KeyConflict",
    "Limit",
    "NotAllowedNow",
    "NotFound",
    "OnEvent",
    "QuotaExceeded",
    "Race",
    "Rate",
    "Retry",
    "RetryLater",
    "Run",
    "RunCancelled",
    "RunFailed",
    "RunTimedOut",
    "Schedule",
    "Secret",
    "Step",
    "StepContext",
    "StepError",
    "StillRunning",
    "Submitted",
    "WfceleryError",
    "Workflow",
    "aapprove",
    "aarchive_definition",
    "aassign",
    "abulk",
    "add_items",
    "adopt",
    "after",
    "aget_schedule",
    "ahold",
    "alist_schedules",
    "approval",
    "approve",
    "apublish_definition",
    "archive_definition",
    "areject",
    "arelease",
    "aschedule",
    "asend_event",
    "assign",
    "astart_workflow",
    "aunarchive_definition",
    "batched",
    "bulk",
    "cancelled",
    "complete_items",
    "completed",
    "continue_as_new",
    "current_step",
    "either",
    "end",
    "error",
    "expr",
    "fail",
    "failed",
    "form",
    "get_run",
    "get_schedule",
    "hold",
    "install",
    "is_none",
    "list_schedules",
    "lock",
    "loop",
    "not_",
    "on_event",
    "once",
    "otherwise",
    "publish",
    "publish_definition",
    "race",
    "region",
    "reject",
    "release",
    "required",
    "rerun_failed",
    "schedule",
    "secret",
    "send_event",
    "sleep",
    "sleep_until",
    "start_workflow",
    "step",
    "succeeded",
    "text",
    "timed_out",
    "unarchive_definition",
    "wait_event",
    "when",
    "workflow",
]

_HOMES = {
    "wfcelery.authoring.context": "StepContext current_step",
    "wfcelery.authoring.approvals": "Approved approval form",
    "wfcelery.core.decision": "ApprovalNotice",
    "wfcelery.service.approvals": "aapprove aassign approve areject assign reject",
    "wfcelery.authoring.calls": "batched",
    "wfcelery.authoring.decorators": "Bound Step Submitted Workflow adopt step workflow",
    "wfcelery.authoring.events": "wait_event",
    "wfcelery.authoring.gates": "Breaker Concurrency Limit Rate",
    "wfcelery.authoring.sections": "lock",
    "wfcelery.authoring.language": "after cancelled completed continue_as_new either end error expr fail failed is_none not_ otherwise "
    "publish required sleep sleep_until succeeded text timed_out when",
    "wfcelery.authoring.loops": "loop",
    "wfcelery.authoring.options": "Retry",
    "wfcelery.authoring.racing": "Race race",
    "wfcelery.authoring.regions": "region",
    "wfcelery.authoring.secrets": "Secret secret",
    "wfcelery.authoring.tracing": "End",
    "wfcelery.authoring.triggers": "OnEvent on_event",
    "wfcelery.authoring.undoing": "Compensate",
    "wfcelery.errors": "AttemptCancelled AuthoringError CannotRead DefinitionProblems Failed GiveUp InProgress InvalidInput "
    "InvalidSchedule KeyConflict NotAllowedNow NotFound QuotaExceeded RetryLater RunCancelled RunFailed RunTimedOut StepError "
    "StillRunning WfceleryError",
    "wfcelery.service.definition_handles": "DefinitionVersion aarchive_definition apublish_definition archive_definition "
    "aunarchive_definition publish_definition unarchive_definition",
    "wfcelery.service.events": "asend_event send_event",
    "wfcelery.service.fan_outs": "add_items complete_items rerun_failed",
    "wfcelery.service.handles": "Run get_run",
    "wfcelery.service.holds": "ahold arelease hold release",
    "wfcelery.service.once": "once",
    "wfcelery.service.schedule_handles": "Schedule aget_schedule alist_schedules aschedule get_schedule list_schedules schedule",
    "wfcelery.service.starting": "astart_workflow start_workflow",
    "wfcelery.service.bulk": "Bulk abulk bulk",
    "wfcelery.service.why": "Cause",
    "wfcelery.integrations.installing": "install",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(home), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
