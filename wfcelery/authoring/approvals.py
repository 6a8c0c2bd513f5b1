"""Asking people: an approval, and what it is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, Unpack, cast, overload

from pydantic import BaseModel, ConfigDict, PydanticInvalidForJsonSchema, PydanticSchemaGenerationError, TypeAdapter
from typing_extensions import TypeVar

from wfcelery.authoring.formulas import Formula, Use
from wfcelery.authoring.options import ApprovalOptions, check_options, check_span
from wfcelery.authoring.references import Reference
from wfcelery.authoring.registry import registry
from wfcelery.authoring.tracing import current_trace, looked_at, refusal, templated
from wfcelery.definition.forms import NAME, SCHEMA
from wfcelery.definition.spans import seconds
from wfcelery.errors import AuthoringError

F = TypeVar("F", default=None)
M = TypeVar("M")


class Approved(BaseModel, Generic[F]):
    """What an approval is worth: who approved, when, with which words, and what the form asked for."""

    model_config = ConfigDict(frozen=True)

    by: str
    at: datetime
    comment: str | None = None
    form: F = cast("F", None)


def form(model: type[M], /) -> type[M]:
    """Make a model known by its name, so that YAML can say `form: Note`."""
    registry.add_form(model.__name__, _schema(model))
    return model


@overload
def approval(title: str, /, *, form: type[F], **options: Unpack[ApprovalOptions]) -> Approved[F]: ...
@overload
def approval(title: str, /, *, form: None = None, **options: Unpack[ApprovalOptions]) -> Approved[None]: ...
def approval(title: str, /, *, form: Any = None, **options: Unpack[ApprovalOptions]) -> Any:
    """Ask people, and wait for the first of them who may answer. No worker waits with it.

    `assignees` are `role:finance`, or names of actors; without them everybody is asked. `form` is a model of what an answer has
    to say. Every `remind` those who are asked are reminded; `escalate` is a list of (after, who is asked then too). After
    `timeout` the step is `timed_out`. A rejection is a failure of the type `Rejected`.
    """
    trace = current_trace("approval()")
    check_options("approval()", options, ApprovalOptions.__annotations__)
    if not isinstance(title, Reference) and (not isinstance(title, str) or not title):
        raise refusal(f"approval() takes a title, a text that says what is asked, not {title!r}")
    said: dict[str, Any] = {"type": "approval", "title": templated(title, "approval(title)")}
    assignees = options.get("assignees")
    if assignees is not None:
        said["assignees"] = templated([assignees] if isinstance(assignees, str) else assignees, "approval(assignees)")
    if form is not None:
        said["form"] = {NAME: _named(form), SCHEMA: _schema(form)}
    for key, span in (("remind", options.get("remind")), ("timeout", options.get("timeout"))):
        if span is not None:
            said[key] = seconds(span)
    if options.get("escalate"):
        said["escalate"] = [_escalation(each) for each in options["escalate"]]
    seen = [*looked_at(title), *looked_at(assignees)]
    task = trace.add("approval", options, said, seen)
    return Reference(Formula(f"task.{task.name}.result", (Use(task),), task=task))


def _escalation(written: Any) -> dict[str, Any]:
    if not isinstance(written, tuple) or len(written) != 2:
        raise refusal(f'approval(escalate) is a list of pairs such as ("1d", "role:cfo"), not {written!r}')
    after, to = written
    try:
        check_span("approval(escalate)", after)
    except AuthoringError as wrong:
        raise refusal(str(wrong)) from None
    names = [to] if isinstance(to, str) else list(to) if isinstance(to, Sequence) else []
    if not names or not all(isinstance(name, str) and name for name in names):
        raise refusal(f"approval(escalate): {to!r} names nobody who is asked then")
    return {"after": seconds(after), "to": names}


def _named(model: Any) -> str:
    name = getattr(model, "__name__", None)
    if not isinstance(name, str):
        raise refusal(f"approval(form) is a class, such as a pydantic model, not {model!r}")
    return name


def _schema(model: Any) -> Mapping[str, Any]:
    """The JSON schema of a model; empty where JSON has no word for it."""
    try:
        return dict(TypeAdapter(model).json_schema(mode="validation", by_alias=False))
    except PydanticInvalidForJsonSchema:
        return {}
    except PydanticSchemaGenerationError:
        raise refusal(f"approval(form): pydantic cannot read a {_named(model)}") from None
