"""Waiting for what comes from outside."""

from __future__ import annotations

from typing import Any, Unpack, cast

from pydantic import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError, PydanticUndefinedAnnotation, TypeAdapter
from typing_extensions import TypeVar

from wfcelery.authoring.formulas import Formula, Use
from wfcelery.authoring.options import EventOptions, check_options
from wfcelery.authoring.references import Reference
from wfcelery.authoring.tracing import current_trace, looked_at, refusal, templated

AnyT = TypeVar("AnyT", default=Any)


def wait_event(
    event: str,
    /,
    *,
    key: object = None,
    type: type[AnyT] | None = None,  # noqa: A002
    **options: Unpack[EventOptions],
) -> AnyT:
    """Wait for an event of this name and key, and be worth its data. No worker waits with it.

    One that came before is heard too, unless `keep=False`. With a `type` what does not fit it is refused and the wait goes on, as
    it does where the sender has none of the `roles`. After `timeout` the step is `timed_out`.
    """
    trace = current_trace("wait_event()")
    check_options("wait_event()", options, EventOptions.__annotations__)
    if not isinstance(event, str) or not event:
        raise refusal(f"wait_event() takes the name of an event, a text, not {event!r}")
    if key is not None and not isinstance(key, Reference) and (not isinstance(key, str | int) or key == ""):
        raise refusal(f"wait_event(key) is a text, or a value of the run, not {key!r}")
    said: dict[str, Any] = {"type": "wait", "event": event}
    if key is not None:
        said["key"] = templated(key, "wait_event(key)")
    if options.get("timeout") is not None:
        said["timeout"] = options["timeout"]
    if options.get("keep") is False:
        said["keep"] = False
    if options.get("roles"):
        said["roles"] = list(options["roles"])
    if type is not None:
        said["data"] = _schema(type)
    task = trace.add("wait_event", options, said, looked_at(key))
    return cast("AnyT", Reference(Formula(f"task.{task.name}.result", (Use(task),), task=task)))


def _schema(kind: Any) -> dict[str, Any]:
    """The JSON schema of a type; empty where JSON has no word for it."""
    try:
        return dict(TypeAdapter(kind).json_schema(mode="validation", by_alias=False))
    except PydanticInvalidForJsonSchema:
        return {}
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation):
        raise refusal(f"wait_event(type): pydantic cannot read a {getattr(kind, '__name__', kind)}") from None
