"""Rows of a run's inbox as the facts they stand for."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from wfcelery.core.events import (
    Answered,
    AssignAsked,
    CancelAsked,
    CancelStepAsked,
    ChildEnded,
    CompleteAsked,
    Fact,
    GateOpened,
    HoldOver,
    ItemsAdded,
    ItemsCompleted,
    MoveAsked,
    PauseAsked,
    Reported,
    RerunAsked,
    ResumeAsked,
    RetryAsked,
    RunRetryAsked,
    SkipAsked,
    TerminateAsked,
)
from wfcelery.store.inbox import InboxRow


def fact_of(row: InboxRow) -> Fact:
    """A row of the inbox as the fact it stands for."""
    data, by = row.data, row.data.get("by")
    reason = data.get("reason") or f"operator {row.fact}"
    match row.fact:
        case "reported":
            return Reported(UUID(data["step"]), UUID(data["token"]))
        case "cancel":
            return CancelAsked(reason, by)
        case "terminate":
            return TerminateAsked(reason, by)
        case "pause":
            until = data.get("until")
            return PauseAsked(reason, by, data.get("for"), None if until is None else datetime.fromisoformat(until), bool(data.get("down")))
        case "child_ended":
            return ChildEnded(UUID(data["step"]), UUID(data["child"]), data["status"], data["output"], data["error"])
        case "gate_opened":
            return GateOpened(UUID(data["step"]), data["kind"], data["key"])
        case "hold_over":
            return HoldOver(data["scope"], data["delay"], data["every"])
        case "resume":
            return ResumeAsked(by)
        case "add_items":
            return ItemsAdded(data["task"], data["items"], by)
        case "complete_items":
            return ItemsCompleted(data["task"], by)
        case "move":
            return MoveAsked(data["to"], by)
        case "rerun_failed":
            return RerunAsked(data["task"], by)
        case "skip":
            return SkipAsked(data["task"], reason, by)
        case "cancel_step":
            return CancelStepAsked(data["task"], reason, by)
        case "approve" | "reject":
            given = (data["by"], tuple(data["roles"]), data["comment"], data["form"])
            return Answered(data["task"], row.fact == "approve", row.at, *given)
        case "assign":
            return AssignAsked(data["task"], tuple(data["to"]), by)
        case "complete":
            return CompleteAsked(data["task"], data["value"], reason, by)
        case "retry" if "step" not in data:
            return RunRetryAsked(by)
        case _:
            return RetryAsked(UUID(data["step"]), by)
