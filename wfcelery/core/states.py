"""Every status a run, a step and a wait can have, and every way from one to the next.

The three tables below are the only place that says what may follow what. `core.decide` moves a
row only along them, the store's CHECKs repeat the words, and `docs/reference/states.md` is
generated from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class RunStatus(StrEnum):
    """Where a run stands. `cancelling` is every run that is being brought to an end before its own, `paused` one that somebody stopped,
    `compensating` one whose end is decided, and that has compensations or hooks to carry out before it."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    COMPENSATING = "compensating"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"


class StepStatus(StrEnum):
    """Where a step, or one item of a fan-out, stands."""

    BLOCKED = "blocked"
    READY = "ready"
    HELD = "held"
    RUNNING = "running"
    REPORTED = "reported"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    COMPENSATED = "compensated"


class WaitStatus(StrEnum):
    """A wait is open until exactly one thing ends it: `met`, what was waited for came; `due`, its time did."""

    OPEN = "open"
    DUE = "due"
    CANCELLED = "cancelled"
    MET = "met"


RUN_ENDED = frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.TIMED_OUT})
STEP_ENDED = frozenset(
    {
        StepStatus.SUCCEEDED,
        StepStatus.FAILED,
        StepStatus.SKIPPED,
        StepStatus.CANCELLED,
        StepStatus.TIMED_OUT,
        StepStatus.COMPENSATED,
    }
)
STEP_OPEN = frozenset({StepStatus.READY, StepStatus.HELD, StepStatus.RUNNING, StepStatus.REPORTED, StepStatus.WAITING})
UNDER_WAY = frozenset({StepStatus.RUNNING, StepStatus.REPORTED})

# status -> {the word of the history for it: the status after it}. None stands for "no row yet".
_REOPENED = frozenset({RunStatus.RUNNING, RunStatus.WAITING, RunStatus.CANCELLING, RunStatus.SUCCEEDED})

RUN_TABLE: Mapping[RunStatus | None, Mapping[str, frozenset[RunStatus]]] = {
    None: {"start": frozenset({RunStatus.PENDING})},
    RunStatus.PENDING: {
        "begun": frozenset({RunStatus.RUNNING, RunStatus.WAITING, RunStatus.CANCELLING, RunStatus.SUCCEEDED, RunStatus.FAILED}),
        "begun and paused": frozenset({RunStatus.PAUSED}),
        "cancel": frozenset({RunStatus.CANCELLED}),
        "deadline": frozenset({RunStatus.TIMED_OUT}),
        "an end with hooks": frozenset({RunStatus.COMPENSATING}),
    },
    RunStatus.RUNNING: {
        "only waits are open": frozenset({RunStatus.WAITING}),
        "pause": frozenset({RunStatus.PAUSED}),
        "cancel": frozenset({RunStatus.CANCELLING, RunStatus.CANCELLED}),
        "failure that nothing handles, or a fail": frozenset({RunStatus.CANCELLING, RunStatus.FAILED}),
        "end": frozenset({RunStatus.CANCELLING, RunStatus.SUCCEEDED}),
        "deadline": frozenset({RunStatus.CANCELLING, RunStatus.TIMED_OUT}),
        "nothing is open": frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED}),
        "an end with compensations or hooks": frozenset({RunStatus.COMPENSATING}),
    },
    RunStatus.WAITING: {
        "a wait ended": frozenset({RunStatus.RUNNING, RunStatus.SUCCEEDED, RunStatus.FAILED}),
        "pause": frozenset({RunStatus.PAUSED}),
        "cancel": frozenset({RunStatus.CANCELLING, RunStatus.CANCELLED}),
        "deadline": frozenset({RunStatus.CANCELLING, RunStatus.TIMED_OUT}),
        "failure that nothing handles": frozenset({RunStatus.CANCELLING, RunStatus.FAILED}),
        "an end with compensations or hooks": frozenset({RunStatus.COMPENSATING}),
    },
    RunStatus.PAUSED: {
        "resume": frozenset({RunStatus.RUNNING, RunStatus.WAITING, RunStatus.COMPENSATING}),
        "an end with compensations or hooks": frozenset({RunStatus.COMPENSATING}),
        "cancel": frozenset({RunStatus.CANCELLING, RunStatus.CANCELLED}),
        "failure that nothing handles": frozenset({RunStatus.CANCELLING, RunStatus.FAILED}),
        "deadline": frozenset({RunStatus.CANCELLING, RunStatus.TIMED_OUT}),
        "nothing is open": frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED}),
    },
    RunStatus.CANCELLING: {
        "nothing is under way": frozenset({RunStatus.FAILED, RunStatus.CANCELLED, RunStatus.TIMED_OUT}),
        "nothing is under way beside an end": frozenset({RunStatus.SUCCEEDED}),
        "nothing is under way but compensations or hooks are left": frozenset({RunStatus.COMPENSATING}),
    },
    RunStatus.COMPENSATING: {
        "nothing is left to do, or terminate": RUN_ENDED,
        "pause": frozenset({RunStatus.PAUSED}),
    },
    RunStatus.SUCCEEDED: {"retry of a hook": frozenset({RunStatus.COMPENSATING})},
    RunStatus.FAILED: {"retry": _REOPENED, "retry of a compensation or a hook": frozenset({RunStatus.COMPENSATING})},
    RunStatus.CANCELLED: {"retry of a compensation or a hook": frozenset({RunStatus.COMPENSATING})},
    RunStatus.TIMED_OUT: {
        "retry": _REOPENED | {RunStatus.FAILED},
        "retry of a compensation or a hook": frozenset({RunStatus.COMPENSATING}),
    },
}

_BORN = frozenset({StepStatus.READY, StepStatus.HELD, StepStatus.WAITING})
_BY_HAND = frozenset({StepStatus.SKIPPED, StepStatus.SUCCEEDED})

STEP_TABLE: Mapping[StepStatus | None, Mapping[str, frozenset[StepStatus]]] = {
    None: {
        "reached": _BORN | {StepStatus.RUNNING, StepStatus.SUCCEEDED, StepStatus.FAILED},
        "first of several ways": frozenset({StepStatus.BLOCKED}),
        "dead or its when is false": frozenset({StepStatus.SKIPPED}),
        "closed in the commit that reached it": frozenset({StepStatus.CANCELLED}),
    },
    StepStatus.BLOCKED: {
        "another way came": frozenset({StepStatus.BLOCKED}),
        "reached": _BORN | {StepStatus.RUNNING, StepStatus.SUCCEEDED, StepStatus.FAILED},
        "dead or its when is false": frozenset({StepStatus.SKIPPED}),
        "closed": frozenset({StepStatus.CANCELLED}),
        "decided by hand": _BY_HAND,
    },
    StepStatus.READY: {
        "claimed": frozenset({StepStatus.RUNNING}),
        "held": frozenset({StepStatus.HELD}),
        "closed": frozenset({StepStatus.CANCELLED}),
        "its fan-out is completed, or its milestone has passed": frozenset({StepStatus.SKIPPED}),
        "decided by hand": _BY_HAND,
    },
    StepStatus.HELD: {
        "released": frozenset({StepStatus.READY}),
        "its section is entered": frozenset({StepStatus.SUCCEEDED}),
        "closed": frozenset({StepStatus.CANCELLED}),
        "its fan-out is completed, or its milestone has passed": frozenset({StepStatus.SKIPPED}),
        "decided by hand": _BY_HAND,
    },
    StepStatus.RUNNING: {
        "result": frozenset({StepStatus.SUCCEEDED}),
        "reported": frozenset({StepStatus.REPORTED}),
        "again": frozenset({StepStatus.READY, StepStatus.HELD, StepStatus.CANCELLED}),
        "failure": frozenset({StepStatus.FAILED}),
        "timeout": frozenset({StepStatus.TIMED_OUT}),
        "the item's own when is false, or a step handed back comes too late": frozenset({StepStatus.SKIPPED}),
        "closed": frozenset({StepStatus.CANCELLED}),
        "it calls a workflow": frozenset({StepStatus.WAITING}),
    },
    StepStatus.REPORTED: {"advanced": frozenset({StepStatus.SUCCEEDED})},
    StepStatus.WAITING: {
        "its time came": frozenset({StepStatus.SUCCEEDED, StepStatus.TIMED_OUT}),
        "what it waited for came": frozenset({StepStatus.SUCCEEDED, StepStatus.FAILED}),
        "its items ended": frozenset({StepStatus.SUCCEEDED, StepStatus.FAILED, StepStatus.TIMED_OUT}),
        "its child ended": frozenset({StepStatus.SUCCEEDED, StepStatus.FAILED, StepStatus.TIMED_OUT, StepStatus.CANCELLED}),
        "an item whose child failed, again": frozenset({StepStatus.READY, StepStatus.HELD, StepStatus.CANCELLED}),
        "closed": frozenset({StepStatus.CANCELLED}),
        "decided by hand": _BY_HAND,
    },
    StepStatus.SUCCEEDED: {
        "reopened by a retry": frozenset({StepStatus.HELD}),
        "its compensation succeeded": frozenset({StepStatus.COMPENSATED}),
    },
    StepStatus.FAILED: {"decided by hand": _BY_HAND, "retry": _BORN | {StepStatus.SUCCEEDED, StepStatus.SKIPPED, StepStatus.CANCELLED}},
    StepStatus.SKIPPED: {},
    StepStatus.CANCELLED: {
        "reopened by a retry": _BORN | {StepStatus.BLOCKED, StepStatus.SUCCEEDED, StepStatus.FAILED, StepStatus.SKIPPED}
    },
    StepStatus.TIMED_OUT: {"decided by hand": _BY_HAND, "retry": _BORN | {StepStatus.CANCELLED}},
    StepStatus.COMPENSATED: {},
}

WAIT_TABLE: Mapping[WaitStatus | None, Mapping[str, frozenset[WaitStatus]]] = {
    None: {"opened": frozenset({WaitStatus.OPEN})},
    WaitStatus.OPEN: {
        "what was waited for came": frozenset({WaitStatus.MET}),
        "its time came": frozenset({WaitStatus.DUE}),
        "closed": frozenset({WaitStatus.CANCELLED}),
    },
    WaitStatus.MET: {},
    WaitStatus.DUE: {},
    WaitStatus.CANCELLED: {"reopened by a retry": frozenset({WaitStatus.OPEN})},
}
